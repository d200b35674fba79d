"""Random changes of files and values that are likely to break readers."""

import io
import json
import random
import zipfile

import torch

NUMBERS = (-1, 0, 1, 2, 7, 8, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**63, 10**9, 10**30, -(2**63))
TEXTS = (
    "",
    "\0",
    "../x",
    "os:abort",
    "imported",
    "elastic",
    "9" * 400,
    "ngf=1000000000",
    "1_" * 300,
    "\x1b[2J",
    "é" * 50,
)


def mutate_bytes(content: bytes, draw: random.Random) -> bytes:
    """Flip, cut, double, insert or overwrite in one to eight places."""
    made = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        place = draw.randrange(len(made) + 1) if draw.random() < 0.5 else min(len(made), draw.randrange(96))
        choice = draw.randrange(6)
        if choice == 0 and place < len(made):
            made[place] ^= 1 << draw.randrange(8)
        elif choice == 1:
            del made[place : place + draw.randrange(1, 64)]
        elif choice == 2:
            made[place:place] = made[place : place + draw.randrange(1, 256)]
        elif choice == 3:
            made[place : place + 4] = (draw.choice(NUMBERS) % 2**32).to_bytes(4, draw.choice(("little", "big")))
        elif choice == 4:
            made[place : place + draw.randrange(1, 16)] = draw.randbytes(draw.randrange(1, 16))
        elif draw.random() < 0.2:
            del made[place:]
    return bytes(made)


def mutate_value(value: object, draw: random.Random, depth: int = 0) -> object:
    """Another value: a field that is missing, new, of another type or size, or the same one level deeper."""
    if depth < 8 and isinstance(value, dict) and value and draw.random() < 0.85:
        name = draw.choice(list(value))
        if draw.random() < 0.12:
            return {one: other for one, other in value.items() if one != name}
        if draw.random() < 0.08:
            return {**value, draw.choice(TEXTS): value[name]}
        return {**value, name: mutate_value(value[name], draw, depth + 1)}
    if depth < 8 and isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        if draw.random() < 0.1:
            return value * draw.choice((0, 2, 100))
        return [*value[:place], mutate_value(value[place], draw, depth + 1), *value[place + 1 :]]
    if isinstance(value, torch.Tensor) and draw.random() < 0.7:
        return _mutate_tensor(value, draw)
    return _anything(value, draw)


def _mutate_tensor(tensor: torch.Tensor, draw: random.Random) -> object:
    makers = (
        lambda: tensor.to(draw.choice((torch.float64, torch.int64, torch.bool, torch.complex64, torch.float16))),
        lambda: tensor.flatten(),
        lambda: tensor[None],
        lambda: torch.zeros(1, dtype=tensor.dtype).expand(10**6),
        lambda: torch.zeros(1, dtype=tensor.dtype).expand(10**5, 10**5, 10**3),
        lambda: tensor.to_sparse() if tensor.dim() and tensor.device.type == "cpu" else tensor,
        lambda: torch.empty(10**9, device="meta"),
        lambda: tensor.flatten()[:0],
    )
    return tensor if tensor.layout != torch.strided else draw.choice(makers)()


def _anything(value: object, draw: random.Random) -> object:
    nested: object = value
    for _ in range(draw.choice((1, 3, 40))):
        nested = draw.choice(([nested], {"x": nested}))
    plain = (
        None,
        True,
        0.5,
        float("nan"),
        float("inf"),
        -0.0,
        [],
        {},
        draw.choice(NUMBERS),
        draw.choice(TEXTS),
        nested,
    )
    return draw.choice(plain)


def json_bytes(value: object) -> bytes:
    return json.dumps(value, default=str).encode()


def torch_bytes(value: object, legacy: bool = False) -> bytes:
    content = io.BytesIO()
    torch.save(value, content, _use_new_zipfile_serialization=not legacy)
    return content.getvalue()


def repacked_zip(content: bytes, draw: random.Random) -> bytes:
    """The same zip with one member changed, left out or compressed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as origin, zipfile.ZipFile(made, "w") as target:
        names = origin.namelist()
        changed = draw.choice(names)
        for name in names:
            member = origin.read(name)
            if name == changed and draw.random() < 0.1:
                continue
            if name == changed:
                member = draw.choice((mutate_bytes(member, draw), member * 100, bytes(10**7)))
            target.writestr(draw.choice((name, name, name, f"../{name}")), member, draw.choice((0, 0, 8)))
    return made.getvalue()
