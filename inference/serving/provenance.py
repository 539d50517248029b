"""Content credentials (C2PA): a signed statement inside the file that a model made it.

No thumbnail is embedded: it would copy the picture into its own metadata. No time stamp is asked for: signing needs
no network.
"""

import io
from pathlib import Path

import c2pa

from serving import __version__
from serving.errors import ConfigurationError, SigningFailed

# IPTC's digital source type for media made by a trained model.
_GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_COMPOSED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
# Tasks that start from a caller's picture.
_EDITS = frozenset({"img2img", "inpaint"})


class ContentCredentials:
    """Signs with an ES256 key. Raises ConfigurationError when certificate and key cannot sign."""

    def __init__(self, certificate: Path, key: Path) -> None:
        try:
            self._chain, self._key = certificate.read_bytes(), key.read_bytes()
            self._context().close()
        except (OSError, c2pa.C2paError) as error:
            raise ConfigurationError(
                "INFERENCE_C2PA_CERTIFICATE", f"The signing key cannot be used: {error}"
            ) from error

    def sign(self, data: bytes, media_type: str, task: str, model: str) -> bytes:
        """The file with its credentials. Raises SigningFailed."""
        action = {
            "action": "c2pa.created",
            "digitalSourceType": _COMPOSED if task in _EDITS else _GENERATED,
            "softwareAgent": {"name": model},
        }
        manifest = {
            "claim_generator_info": [{"name": "wordup-inference", "version": __version__}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
        signed = io.BytesIO()
        try:
            with self._context() as context, c2pa.Builder(manifest, context) as builder:
                builder.sign(media_type, io.BytesIO(data), signed)
        except c2pa.C2paError as error:
            raise SigningFailed() from error
        return signed.getvalue()

    def _context(self) -> c2pa.Context:
        info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=self._chain, private_key=self._key, ta_url=None)
        settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
        return c2pa.Context(settings, c2pa.Signer.from_info(info))
