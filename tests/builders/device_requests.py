"""What a device sends to enrol, and the installation that it enrols in."""

from datetime import timedelta

from services._chassis.auth import digest_of
from services.device.model.devices import Facts
from services.device.model.installation import Installation, PolicyKey
from services.device.usecases.enrolment import Enrolment
from tests.builders.devices import LINUX
from tests.builders.doors import authority, device_request


def an_enrolment(token: str, name: str = "ws-17", *, csr: str = "", facts: Facts = LINUX) -> Enrolment:
    """Return what a device says that has the token's text; with a key of its own unless the test gives a request."""
    return Enrolment(
        token_digest=digest_of(token), csr=csr or device_request()[1].decode(), device_name=name, facts=facts
    )


def an_installation() -> Installation:
    """Return an installation whose CA is that of the tests."""
    return Installation(
        authority=authority(),
        trust_domain="openepm",
        policy_address="policy:8444",
        reporting_address="reporting:8444",
        device_address="device:8444",
        policy_keys=(PolicyKey("k1", b"\x01" * 32),),
        certificate_lifetime=timedelta(days=90),
    )
