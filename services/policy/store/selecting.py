"""Ask for the objects of a list, from a key on, in an order."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from services.policy.model.listing import EPOCH, Order, Sorting
from services.policy.ports import Selection
from services.policy.store.tables import OBJECT, OBJECT_TAG

_O, _T = OBJECT.c, OBJECT_TAG.c
_COLUMNS: dict[Sorting, sa.Column[Any]] = {Sorting.UPDATED: _O.updated, Sorting.REVISION: _O.revision}


def selected(selection: Selection, after: tuple[str | int, ...], limit: int) -> sa.Select[Any]:
    """Ask for the objects after a key that carry one of the tags; what else they have to pass, Python looks at."""
    statement = sa.select(OBJECT).limit(limit).order_by(*_columns(selection.order))
    if after:
        statement = statement.where(_beyond(selection.order, after))
    if selection.visible is not None:
        tagged = sa.select(_T.tag).where(_T.kind == _O.kind, _T.name == _O.name, _T.tag.in_(selection.visible))
        statement = statement.where(tagged.exists())
    return statement


def _columns(order: Order) -> list[sa.ColumnElement[Any]]:
    columns = [*([] if order.by is Sorting.NAME else [_COLUMNS[order.by]]), _O.name]
    return [column.desc() if order.descending else column.asc() for column in columns]


def _beyond(order: Order, after: tuple[str | int, ...]) -> sa.ColumnElement[bool]:
    *first, name = after
    beyond = _after(_O.name, name, order)
    if not first:
        return beyond
    column, value = _COLUMNS[order.by], _value(order, int(first[0]))
    return sa.or_(_after(column, value, order), sa.and_(column == value, beyond))


def _after(column: sa.Column[Any], value: object, order: Order) -> sa.ColumnElement[bool]:
    return column < value if order.descending else column > value


def _value(order: Order, number: int) -> object:
    return EPOCH + timedelta(microseconds=number) if order.by is Sorting.UPDATED else number
