"""The server's comparison of a round's updates with each other.

Each of them is sound by itself, see `update_check`, and may still be harmful: a thousand times as
long as the others, turned against them, or heavy with images that nobody has. The length of an
update, the Euclidean norm of its difference to the global model, is compared with two things:

- with how far training can move a model, its reach: a step of Adam moves a weight by about the
  learning rate (Kingma and Ba, "Adam", ICLR 2015, section 2.1), so that the norm stays below
  learning rate x steps x the root of the number of weights. That holds for a robot alone, and in
  the first round.
- with the usual length, the median of the round. A robot with more images takes more steps and
  comes further, in proportion at most: such an update counts, but shortened, with the weight of a
  median, up to `norm_limit` times what others may do. Where claims were believed beyond that,
  10^6 images would excuse any length.

Of two updates a median tells neither apart. There the usual length is that of the round before,
and a longer update is shortened to `norm_limit` times that: a robot whose model is as good as it
gets, and which then sees something new, must not be refused for ever.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from fl_robot_ros.cloud.checkpoint import GlobalModel, UsualLength
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ProtocolError
from fl_robot_ros.federation.protocol import unpack_weights

# A step of Adam can be longer than the learning rate, a whole training hardly: 0.95 at most where
# we measured it, for a single step.
_REACH_MARGIN = 2.0
# Below this share of what training can do nobody is refused for the length: robots whose model is
# as good as it gets hardly move, and one batch that does not fit is a long step by comparison.
_SMALL_SHARE = 0.05
_FEWEST_FOR_MEDIAN = 3
_FEWEST_FOR_DIRECTION = 4
# The length of the sum of the others' directions from which on they agree about one. Where a
# model is as good as it gets the updates cancel out: each is turned against the sum of the
# others, which is then as long as a single one.
_AGREEMENT = 1.5


@dataclass(frozen=True)
class Update:
    """A robot's update.

    Attributes:
        message: The robot's reply.
        difference: Its weights minus the global model's, float32 (number of weights,).
        images: Images that it counts for.
        norm: Euclidean norm of the difference.
        trained_norm: The same of the weights that training moves.
        reach: How far training on so many images moves those at most, as a norm; above 0.
    """

    message: Message
    difference: NDArray[np.float32]
    images: float
    norm: float
    trained_norm: float
    reach: float


class UpdateComparison:
    """Compares updates with each other; remembers how many images each robot has."""

    def __init__(
        self, settings: ServerSettings, is_trainable: NDArray[np.bool_] | None = None
    ) -> None:
        """Take the settings of a run.

        Args:
            settings: The server's settings.
            is_trainable: Of each weight, whether training moves it, (number of weights,); None:
                all of them.
        """
        self._settings = settings
        self._is_trainable = is_trainable
        self._declared: dict[int, int] = {}

    def refuse(self, model: GlobalModel, replies: Sequence[Reply]) -> list[Reply]:
        """Return all replies; those whose update is unlike the others do not count.

        A robot's first reply tells how many images it has in this run; a later one that claims
        more counts for the first number.

        Args:
            model: The model that the robots trained from.
            replies: The replies of a round; those that do not count stay as they are.
        """
        replies = [self._with_declared_images(reply) for reply in replies]
        numbers = [number for number, reply in enumerate(replies) if reply.accepted]
        updates = [self._update(model, replies[number]) for number in numbers]
        for number, reason in zip(numbers, self._reasons(updates), strict=True):
            if reason:
                replies[number] = replace(replies[number], reason=f"refused: {reason}")
        return replies

    def limited(self, model: GlobalModel, accepted: Sequence[Reply]) -> list[Update]:
        """Return the updates that count, within the limits of what a single one can do.

        Args:
            model: The model that the robots trained from.
            accepted: The replies that count, one or more.
        """
        settings = self._settings
        updates = [self._update(model, reply) for reply in accepted]
        images = sorted(update.images for update in updates)
        # The lower one of two in the middle: of two robots, that of the smaller claim.
        middle = images[(len(images) - 1) // 2]
        most_images = settings.weight_limit * middle or math.inf
        longest = math.inf
        usual = self._usual(model, updates)
        if settings.norm_limit and usual is not None:
            longest = max(settings.norm_limit * usual.norm, _small_length(updates))
        return [_limited(update, most_images, middle, longest) for update in updates]

    def _usual(self, model: GlobalModel, updates: Sequence[Update]) -> UsualLength | None:
        """Return what the lengths of these updates are compared with."""
        return usual_length(updates) if len(updates) >= _FEWEST_FOR_MEDIAN else model.usual_length

    def _with_declared_images(self, reply: Reply) -> Reply:
        if not reply.accepted:
            return reply
        declared = self._declared.setdefault(reply.node_id, reply.num_examples)
        return replace(reply, num_examples=min(reply.num_examples, declared))

    def _update(self, model: GlobalModel, reply: Reply) -> Update:
        if reply.message is None:
            raise ProtocolError(f"{reply.robot} sent no update")
        settings = self._settings
        with np.errstate(over="ignore"):  # of weights of 1e38; the norm is infinite then
            weights = np.asarray(unpack_weights(reply.message), dtype=np.float32)
            difference = weights - model.weights
        norm = _norm(difference)
        is_trainable = self._is_trainable
        trained_norm = norm if is_trainable is None else _norm(difference[is_trainable])
        steps = settings.local_epochs * math.ceil(reply.num_examples / settings.batch_size)
        reach = settings.learning_rate * steps * math.sqrt(difference.size)
        return Update(reply.message, difference, reply.num_examples, norm, trained_norm, reach)

    def _reasons(self, updates: Sequence[Update]) -> list[str]:
        """Return of each update why it does not count; "" if it does."""
        usual = usual_length(updates) if len(updates) >= _FEWEST_FOR_MEDIAN else None
        small = _small_length(updates)
        reasons = [
            self._length_reason(update, usual) if update.norm > small else "" for update in updates
        ]
        kept = [number for number, reason in enumerate(reasons) if not reason]
        if len(kept) >= _FEWEST_FOR_DIRECTION:
            for number, cosine in zip(kept, _cosines([updates[n] for n in kept]), strict=True):
                if cosine < self._settings.min_cosine:
                    reasons[number] = (
                        f"its update points against the others, with a cosine of {cosine:.2f}; "
                        f"min_cosine is {self._settings.min_cosine:g}"
                    )
        return reasons

    def _length_reason(self, update: Update, usual: UsualLength | None) -> str:
        if not math.isfinite(update.norm):
            return "its update is longer than a number can tell"
        limit = self._settings.norm_limit
        if not limit:
            return ""
        most = _REACH_MARGIN * update.reach
        if update.trained_norm > most:
            return (
                f"its update is {update.trained_norm:.3g} long; training on {update.images:g} "
                f"images moves this model by {most:.3g} at most"
            )
        if usual is not None:
            by_images = min(usual.share_of_reach * update.reach, limit * usual.norm)
            most = limit * max(usual.norm, by_images)
            if update.norm > most:
                return (
                    f"its update is {update.norm:.3g} long, against {most / limit:.3g} usually; "
                    f"norm_limit is {limit:g} times that"
                )
        return ""


def _small_length(updates: Sequence[Update]) -> float:
    """Return a length that is small beside what training can do; 0 without updates.

    The lower one of two in the middle counts: of two robots, that of the smaller claim of images.
    """
    reaches = sorted(update.reach for update in updates)
    return _SMALL_SHARE * reaches[(len(reaches) - 1) // 2] if reaches else 0.0


def _limited(update: Update, most_images: float, middle: float, longest: float) -> Update:
    """Return an update that weighs no more than `most_images`, shortened to `longest`."""
    if update.norm <= longest:
        return replace(update, images=min(update.images, most_images))
    return replace(
        update,
        images=min(update.images, middle),
        norm=longest,
        difference=update.difference * np.float32(longest / update.norm),
    )


def usual_length(updates: Sequence[Update]) -> UsualLength | None:
    """Return the median length of updates; None where nothing moved."""
    moved = [update for update in updates if update.norm > 0.0]
    if not moved:
        return None
    return UsualLength(
        norm=float(np.median([update.norm for update in moved])),
        share_of_reach=float(np.median([update.norm / update.reach for update in moved])),
    )


def _norm(difference: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(difference.astype(np.float64)))


def _cosines(updates: Sequence[Update]) -> list[float]:
    """Return the cosine of each update with the mean direction of the others, -1 to 1.

    It is 0 where the others have no direction in common.
    """
    total = np.zeros(updates[0].difference.size)
    for update in updates:
        total += _direction(update)
    cosines = []
    for update in updates:
        direction = _direction(update)
        product = float(direction @ total) - float(direction @ direction)
        length = float(np.linalg.norm(total - direction))
        cosines.append(product / length if length >= _AGREEMENT else 0.0)
    return cosines


def _direction(update: Update) -> NDArray[np.float64]:
    """Return an update of length 1; of length 0 where it is none."""
    return update.difference.astype(np.float64) / (update.norm or 1.0)
