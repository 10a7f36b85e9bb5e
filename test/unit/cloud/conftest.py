"""Tests here make messages."""

from flower_identity import take_identity

take_identity()
