"""Places buffers in the arena: two buffers that are needed at the same time never overlap, others may."""

from dataclasses import dataclass

from ganpress.edge.c_code.c_program import ALIGNMENT, Buffer, Step


@dataclass
class _Life:
    first: int
    last: int

    def meets(self, other: "_Life") -> bool:
        """Whether both are needed during one step."""
        return self.first <= other.last and other.first <= self.last


def plan_arena(steps: list[Step]) -> int:
    """Set the offset of each buffer in the arena: the largest buffer first, each at the lowest free offset.

    A step's output takes the place of its input where the step allows this and no later step reads the input.

    Args:
        steps: calls in order; the offsets of their buffers are set.

    Returns:
        Bytes of the arena, a multiple of `ALIGNMENT`.
    """
    lives = _lives(steps)
    owners = _shared(steps, lives)
    placed: list[tuple[Buffer, _Life]] = []
    roots = [one for one in lives if owners[one] is one]
    for buffer in sorted(roots, key=lambda one: (-one.bytes, lives[one].first)):
        buffer.offset = _lowest(buffer, lives[buffer], placed)
        placed.append((buffer, lives[buffer]))
    for buffer, owner in owners.items():
        buffer.offset = owner.offset
    return max((_end(one) for one, _ in placed), default=0)


def _lives(steps: list[Step]) -> dict[Buffer, _Life]:
    lives: dict[Buffer, _Life] = {}
    for number, step in enumerate(steps):
        for buffer in (*step.reads, step.writes, *([step.scratch] if step.scratch else [])):
            if buffer.place == "arena":
                lives.setdefault(buffer, _Life(number, number)).last = number
    return lives


def _shared(steps: list[Step], lives: dict[Buffer, _Life]) -> dict[Buffer, Buffer]:
    """Map each buffer to the buffer whose place it takes: itself, or the input of the step that writes it."""
    owners = {one: one for one in lives}
    for number, step in enumerate(steps):
        if not step.in_place or step.writes not in lives or step.reads[0] not in lives:
            continue
        owner = owners[step.reads[0]]
        fits = owner.bytes == step.writes.bytes and owners[step.writes] is step.writes
        if fits and lives[owner].last == number and lives[step.writes].first == number:
            owners[step.writes] = owner
            lives[owner].last = lives[step.writes].last
    return owners


def _lowest(buffer: Buffer, life: _Life, placed: list[tuple[Buffer, _Life]]) -> int:
    offset = 0
    for other in sorted((one for one, lived in placed if lived.meets(life)), key=lambda one: one.offset):
        if offset + buffer.bytes <= other.offset:
            break
        offset = max(offset, _end(other))
    return offset


def _end(buffer: Buffer) -> int:
    return -(-(buffer.offset + buffer.bytes) // ALIGNMENT) * ALIGNMENT
