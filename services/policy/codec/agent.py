"""Manifests and what is said on policy streams, on their way to devices and back."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.duration_pb2 import Duration

from epm.policy.v1 import agent_pb2
from services._chassis.pki import policy_key_id
from services._chassis.times import stamp
from services.policy.model.delivery import GoAwayReason
from services.policy.model.manifest import Manifest, SigningKeys
from services.policy.usecases.delivery import CAPABILITY
from services.policy.usecases.hello import Hello
from services.policy.usecases.requests.post import CAPABILITY as OUTCOMES
from services.policy.usecases.sayings import GoAway, Offer, Saying, Throttle, UpToDate

LONGEST_VERSION = 64
"""Characters of an agent's version that are read."""

DOMAIN_TAG = b"openepm-policy-manifest-v1\x00"
_REASONS = {
    GoAwayReason.SUPERSEDED: agent_pb2.GO_AWAY_REASON_SUPERSEDED,
    GoAwayReason.DRAINING: agent_pb2.GO_AWAY_REASON_DRAINING,
    GoAwayReason.RETIRED: agent_pb2.GO_AWAY_REASON_RETIRED,
}


def hello_from_proto(message: agent_pb2.Hello) -> Hello:
    """Read a hello; it is kept as long as the stream, so nothing is of which a device may say as much as it likes."""
    return Hello(
        device_id=message.device_id,
        agent_version=message.agent_version[:LONGEST_VERSION],
        capabilities=frozenset({CAPABILITY, OUTCOMES}.intersection(message.capabilities)),
        revision=message.revision,
        sha256=message.document_sha256,
        run_id=message.run_id,
        key_ids=tuple(message.policy_key_ids),
    )


def welcome_to_proto(now: datetime, heartbeat: timedelta) -> agent_pb2.StreamPolicyResponse:
    """Write the server's greeting."""
    response = agent_pb2.StreamPolicyResponse()
    stamp(response.welcome.server_time, now)
    response.welcome.heartbeat.FromTimedelta(heartbeat)
    return response


class Speaker:
    """Write what is said, and sign it in the name of the installation; `keys` are all that sign policy, newest first."""

    def __init__(self, keys: Sequence[Ed25519PrivateKey], *, tenant: str) -> None:
        self._keys = {policy_key_id(key.public_key()): key for key in keys}
        told = [
            agent_pb2.ManifestKey(key_id=key_id, public_key=key.public_key().public_bytes_raw())
            for key_id, key in self._keys.items()
        ]
        # What all manifests begin and end with: fields that stand one after the other are a message as well.
        self._head = _serialised(agent_pb2.Manifest(tenant=tenant))
        self._tails = {key_id: _serialised(agent_pb2.Manifest(key_id=key_id, keys=told)) for key_id in self._keys}

    @property
    def keys(self) -> SigningKeys:
        """Name the keys."""
        return SigningKeys(tuple(self._keys))

    def say(self, saying: Saying) -> agent_pb2.StreamPolicyResponse:
        """Return the message."""
        match saying:
            case Offer():
                return self._offer(saying)
            case UpToDate():
                confirmation = agent_pb2.UpToDate(signed_manifest=self.sign(saying.manifest))
                return agent_pb2.StreamPolicyResponse(up_to_date=confirmation)
            case GoAway():
                return agent_pb2.StreamPolicyResponse(go_away=_go_away(saying))
            case Throttle():
                throttle = agent_pb2.Throttle(retry_after=_duration(saying.retry_after))
                return agent_pb2.StreamPolicyResponse(throttle=throttle)
            case _:
                assert_never(saying)

    def _offer(self, offer: Offer) -> agent_pb2.StreamPolicyResponse:
        """Write an offer where it stands: a message that is put into another one is written, read and copied for it."""
        response = agent_pb2.StreamPolicyResponse()
        response.offer.nonce = offer.nonce
        self._sign(offer.manifest, response.offer.signed_manifest)
        response.offer.document = offer.document
        return response

    def sign(self, manifest: Manifest) -> agent_pb2.SignedManifest:
        """Sign a manifest; the bytes that are signed are the bytes that are sent."""
        signed = agent_pb2.SignedManifest()
        self._sign(manifest, signed)
        return signed

    def _sign(self, manifest: Manifest, signed: agent_pb2.SignedManifest) -> None:
        middle = agent_pb2.Manifest(
            device_id=manifest.device_id, revision=manifest.revision, document_sha256=manifest.sha256
        )
        stamp(middle.issued, manifest.issued)
        stamp(middle.expires, manifest.expires)
        content = b"".join((self._head, _serialised(middle), self._tails[manifest.key_id]))
        signed.manifest = content
        signed.signature = self._keys[manifest.key_id].sign(DOMAIN_TAG + content)


def _serialised(message: agent_pb2.Manifest) -> bytes:
    return message.SerializeToString(deterministic=True)


def _go_away(saying: GoAway) -> agent_pb2.GoAway:
    message = agent_pb2.GoAway(reason=_REASONS[saying.reason])
    if saying.reconnect_within is not None:
        message.reconnect_within.CopyFrom(_duration(saying.reconnect_within))
    return message


def _duration(time: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(time)
    return duration
