"""Frames to an MP4 file (H.264, playable everywhere)."""

import io
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt


def encode(frames: npt.NDArray[np.uint8], fps: int) -> bytes:
    """(frames, height, width, 3) pixels, sides even, as MP4 at `fps` frames a second."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "18"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()
