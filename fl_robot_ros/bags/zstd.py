"""zstd, a part of Python since 3.14 and a package before."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError, get_frame_info
else:
    from backports.zstd import ZstdDecompressor, ZstdError, get_frame_info

__all__ = ["ZstdDecompressor", "ZstdError", "get_frame_info"]
