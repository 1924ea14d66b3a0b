"""Laws of F3-Net: against a direct DCT, at any size, and with every part as the plan specifies."""

from __future__ import annotations

import contextlib
import copy
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from semblance.manifests.errors import UsageError
from semblance.training import models
from semblance.training.models import dct, frequency
from semblance.training.models.f3net import F3Net, F3NetConfig, Mode
from semblance.training.models.frequency import Fad, Lfs
from semblance.training.models.mixblock import MixBlock
from semblance.training.models.xception import Xception

SIZES = st.integers(8, 80)


def build(mode: Mode = "mix", **values: object) -> F3Net:
    model = models.build(F3NetConfig.model_validate({"mode": mode, "width": 0.1, "size": 64} | values))
    assert isinstance(model, F3Net)
    return model


@given(rows=SIZES, columns=SIZES)
@settings(max_examples=20)
def test_transform_is_scipys(rows: int, columns: int) -> None:
    image = torch.rand(1, 2, rows, columns)
    spectrum = dct.forward(image, dct.matrix(rows), dct.matrix(columns))
    assert np.allclose(spectrum, scipy.fft.dctn(image.numpy(), axes=(2, 3), norm="ortho"), atol=1e-4)
    assert torch.allclose(dct.inverse(spectrum, dct.matrix(rows), dct.matrix(columns)), image, atol=1e-5)


@given(rows=SIZES, columns=SIZES)
@settings(max_examples=30)
def test_every_coefficient_is_in_one_band(rows: int, columns: int) -> None:
    for edges in (frequency.FAD_EDGES, tuple(i / 6 for i in range(7))):
        masks = dct.bands(rows, columns, edges)
        assert set(masks.unique().tolist()) <= {0.0, 1.0}
        assert torch.equal(masks.sum(0), torch.ones(rows, columns))


@pytest.mark.parametrize("side", [64, 224, 299, 380])
def test_bands_have_the_papers_areas(side: int) -> None:
    low, middle, high = dct.bands(side, side, frequency.FAD_EDGES).mean((1, 2)).tolist()
    diagonal = 1.5 / side  # one diagonal more or less
    assert low == pytest.approx(1 / 16, abs=diagonal / math.sqrt(8))
    assert middle == pytest.approx(1 / 16, abs=diagonal / 2)
    assert high == pytest.approx(7 / 8, abs=diagonal / 2)


def direct_bands(side: int) -> np.ndarray:
    """Low, middle, high and all, computed from the definition of the bands."""
    masks = np.zeros((4, side, side), np.float32)
    for i in range(side):
        for j in range(side):
            place = (i + 0.5 + j + 0.5) / side  # the triangle under a diagonal t has the area t * t / 2
            masks[0 if place < math.sqrt(1 / 8) else 1 if place < math.sqrt(1 / 4) else 2, i, j] = 1
    masks[3] = 1
    return masks


def test_fad_is_the_direct_computation() -> None:
    fad, image = Fad(48, 0.0), torch.rand(2, 3, 48, 48) * 2 - 1
    torch.nn.init.normal_(fad.learned_KHW)
    weights = direct_bands(48) + 2 / (1 + np.exp(-fad.learned_KHW.detach().numpy())) - 1
    spectrum = scipy.fft.dctn(image.numpy(), axes=(2, 3), norm="ortho")
    expected = [scipy.fft.idctn(spectrum * mask, axes=(2, 3), norm="ortho") for mask in weights]
    assert np.allclose(fad(image).detach(), np.concatenate(expected, 1), atol=1e-4)


def test_fad_starts_as_a_decomposition() -> None:
    image = torch.rand(1, 3, 40, 56) * 2 - 1
    low, middle, high, whole = Fad(64, 0.0)(image).chunk(4, 1)
    assert torch.allclose(low + middle + high, image, atol=1e-5)
    assert torch.allclose(whole, image, atol=1e-5)
    assert torch.allclose(low.mean((2, 3)), image.mean((2, 3)), atol=1e-5)  # the mean is in the lowest band


def test_learned_masks_keep_their_place_at_other_sizes() -> None:
    fad = Fad(64, 0.0)
    with torch.no_grad():
        fad.learned_KHW.copy_(6 * dct.height_of(64, 64).expand_as(fad.learned_KHW))
    other = fad.masks(96, 80)[3] - 1
    assert torch.allclose(other, frequency.weigh(6 * dct.height_of(96, 80).float()), atol=0.02)


def direct_lfs(luma: np.ndarray, row: int, column: int, filters: np.ndarray) -> np.ndarray:
    """The six numbers of one window; ``luma`` is padded, ``row`` and ``column`` count windows."""
    window = luma[2 * row : 2 * row + 10, 2 * column : 2 * column + 10]
    spectrum = scipy.fft.dctn(window, norm="ortho")
    return np.array([math.log10(np.abs(spectrum * mask).sum() + frequency.LFS_FLOOR) for mask in filters])


def test_lfs_is_the_direct_computation() -> None:
    lfs, image = Lfs(), torch.rand(1, 3, 40, 34) * 2 - 1
    torch.nn.init.normal_(lfs.learned_KN)
    height = np.add.outer(np.arange(10), np.arange(10)) + 1  # of 20
    fixed = np.stack([(20 * k / 6 <= height) & (height < 20 * (k + 1) / 6) for k in range(6)])
    filters = fixed + 2 / (1 + np.exp(-lfs.learned_KN.detach().numpy().reshape(6, 10, 10))) - 1
    grey = (np.tensordot([0.299, 0.587, 0.114], image[0].numpy(), 1) + 1) * 127.5
    luma = np.pad(grey, 4, mode="reflect")
    found = lfs(image)[0].detach().numpy()
    assert found.shape == (6, 20, 17)
    for row, column in [(0, 0), (3, 5), (19, 16), (10, 2), (0, 16)]:
        assert np.allclose(found[:, row, column], direct_lfs(luma, row, column, filters), atol=1e-4)


@pytest.mark.parametrize(("side", "windows"), [(224, 112), (299, 149), (33, 16), (64, 32)])
def test_lfs_map_sizes(side: int, windows: int) -> None:
    assert Lfs()(torch.zeros(1, 3, side, side)).shape == (1, 6, windows, windows)


def test_lfs_of_a_flat_picture_is_finite() -> None:
    image = torch.full((1, 3, 32, 32), -1.0, requires_grad=True)
    lfs = Lfs()
    lfs(image).sum().backward()
    assert image.grad is not None
    assert lfs.learned_KN.grad is not None
    assert image.grad.isfinite().all()
    assert lfs.learned_KN.grad.isfinite().all()


def test_frequency_dropout_zeroes_complete_diagonals() -> None:
    dropout, spectrum = dct.FrequencyDropout(0.2), torch.ones(400, 3, 24, 24)
    assert torch.equal(dropout.eval()(spectrum), spectrum)
    dropped = dropout.train()(spectrum)
    assert torch.equal(dropped[:, 0], dropped[:, 2])
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    kept = torch.stack([dropped[:, 0].flip(2).diagonal(23 - d, 1, 2).amin(1) > 0 for d in range(47)], 1)
    for d in range(47):
        line = dropped[:, 0].flip(2).diagonal(23 - d, 1, 2)
        assert torch.equal(line.amin(1), line.amax(1))
    assert kept.float().mean().item() == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / kept.numel()))
    assert len(kept.unique(dim=0)) > 390  # anew for every sample


def test_mixblock_is_the_direct_computation() -> None:
    block = MixBlock(5)
    fad, lfs = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    assert all(torch.equal(was, now) for was, now in zip((fad, lfs), block(fad, lfs), strict=True))  # gains of zero
    with torch.no_grad():
        block.gain_fad.fill_(0.7)
        block.gain_lfs.fill_(-1.3)
    to_fad, to_lfs = (part.detach().numpy() for part in block(fad, lfs))
    one = {name: (part.weight.detach().numpy()[:, :, 0, 0], part.bias.detach().numpy()) for name, part in convs(block)}
    for b in range(2):
        f, s = fad[b].numpy().reshape(5, 12), lfs[b].numpy().reshape(5, 12)
        likeness = (through(one["query"], f).T @ through(one["key"], s)) / math.sqrt(5)
        for place in range(12):
            row, column = np.exp(likeness[place]), np.exp(likeness[:, place])
            brought = through(one["to_fad"], s @ (row / row.sum())[:, None])[:, 0]
            assert np.allclose(to_fad[b].reshape(5, 12)[:, place], f[:, place] + 0.7 * brought, atol=1e-4)
            brought = through(one["to_lfs"], f @ (column / column.sum())[:, None])[:, 0]
            assert np.allclose(to_lfs[b].reshape(5, 12)[:, place], s[:, place] - 1.3 * brought, atol=1e-4)


def convs(block: MixBlock) -> list[tuple[str, torch.nn.Conv2d]]:
    return [(name, part) for name, part in block.named_modules() if isinstance(part, torch.nn.Conv2d)]


def through(convolution: tuple[np.ndarray, np.ndarray], features: np.ndarray) -> np.ndarray:
    weight, bias = convolution
    return np.asarray(weight @ features + bias[:, None])


@pytest.mark.parametrize("size", [(32, 32), (70, 70), (97, 97), (64, 48)])
def test_any_size(size: tuple[int, int]) -> None:
    output = build().eval()(torch.rand(1, 3, *size))
    assert output.logit_B.shape == (1,)
    assert output.logit_B.isfinite().all()


def test_streams_meet_at_the_same_size() -> None:
    for side in (224, 299):
        fad, lfs = Xception(12, 2, 0.02), Xception(6, 1, 0.02)
        windows = (side - 2) // 2 + 1
        with torch.inference_mode():
            after = fad.early(torch.rand(1, 12, side, side)), lfs.early(torch.rand(1, 6, windows, windows))
        assert after[0].shape == after[1].shape
        assert after[0].shape[2] == {224: 14, 299: 19}[side]


@pytest.mark.parametrize("mode", ["rgb", "fad", "lfs", "both", "mix"])
def test_modes(mode: Mode) -> None:
    model = build(mode).train()
    output = model(torch.rand(4, 3, 64, 64))
    streams = 2 if mode in ("both", "mix") else 1
    assert output.embedding_BD.shape == (4, model.embedding_dim)
    assert model.embedding_dim == streams * 208  # a tenth of 2048 in eights
    assert (output.frequency_BD is None) == (mode == "rgb")
    output.logit_B.sum().backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert silent == []
    assert (model.mix7 is not None) == (model.mix12 is not None) == (mode == "mix")


def test_pictures_are_scaled_to_minus_one_to_one() -> None:
    model = build("fad").eval()
    seen: list[torch.Tensor] = []
    assert model.fad is not None
    model.fad.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    assert seen[0][0, :, 0, 0].tolist() == [-1.0, 0.0, 1.0]


def test_spectral_norm_is_where_the_plan_wants_it() -> None:
    model = build().train()
    normed = {name for name, part in model.named_modules() if parametrize.is_parametrized(part)}
    mixers = {f"{block}.{part}" for block in ("mix7", "mix12") for part in ("query", "key", "to_fad", "to_lfs")}
    assert normed == {"linear"} | mixers
    for _ in range(30):
        model(torch.rand(2, 3, 32, 32))
    model.eval()
    for name in normed:
        weight = model.get_submodule(name).weight.flatten(1)
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.05)
    assert not any(parametrize.is_parametrized(part) for part in build(spectral_norm=False).modules())


def test_dropout_is_between_embedding_and_logit() -> None:
    model = build("lfs", frequency_dropout=0.0)
    model.eval()
    model.dropout.train()  # dropout alone, as Monte-Carlo dropout has it
    image = torch.rand(2, 3, 48, 48)
    one, two = model(image), model(image)
    assert torch.equal(one.embedding_BD, two.embedding_BD)
    assert not torch.equal(one.logit_B, two.logit_B)


def test_he_initialisation() -> None:
    stream = build("fad", width=0.25).fad_stream
    assert stream is not None
    for convolution in (stream.conv2, stream.block12.rep[1].pointwise, stream.conv4.conv1):
        weight = convolution.get_parameter("weight")
        fan_in, count = weight[0].numel(), weight.numel()
        assert weight.var().item() == pytest.approx(2 / fan_in, rel=6 / math.sqrt(count))


def test_validation_before_training_is_harmless() -> None:
    model = build("fad").eval()
    with torch.inference_mode():
        model(torch.rand(2, 3, 32, 32))
    model.train()(torch.rand(2, 3, 32, 32)).logit_B.sum().backward()


def test_half_precision_leaves_the_transforms_alone() -> None:
    model, image = build("both").eval(), torch.rand(1, 3, 48, 48)
    assert model.fad is not None
    assert model.lfs is not None
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.fad(image.bfloat16()), model.fad(image.bfloat16().float()))
        assert model.lfs(image.bfloat16()).dtype == torch.float32
        mixed = build("mix").train()(torch.rand(2, 3, 48, 48))
    assert mixed.logit_B.isfinite().all()
    assert mixed.logit_B.dtype == torch.float32  # scores of 16 bits would tie
    mixed.logit_B.sum().backward()


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of opcheck
def test_the_exact_product_is_one_operator_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU; its laws can be checked on any device."""
    left, right = torch.rand(5, 5, requires_grad=True), torch.rand(2, 3, 5, 4, requires_grad=True)
    torch.library.opcheck(dct.exact_product, (left, right), test_utils=("test_schema", "test_autograd_registration"))
    assert torch.autograd.gradcheck(dct.exact_product, (left.double(), right.double()))
    counts = []
    for multiply in (torch.matmul, dct.exact_product):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            multiply(left, right)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
    grads = [torch.autograd.grad(made.square().sum(), (left, right)) for made in (left @ right, exact(left, right))]
    for expected, found in zip(*grads, strict=True):
        assert torch.allclose(expected, found)
    seen = []
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda *_: seen.append(torch.backends.cuda.matmul.fp32_precision))
    torch.set_float32_matmul_precision("high")  # TF32, as Lightning proposes it
    try:
        with contextlib.suppress(Exception):  # nothing is multiplied
            dct.exact_product(left.detach(), right.detach())
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {"ieee"}


def exact(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = dct.exact_product(left, right)
    return found


def test_a_compiler_sees_one_graph() -> None:
    """There were five: the switch of TF32 inside ``forward`` broke it."""
    torch.compiler.reset()
    model, image = build(size=32).train(), torch.rand(2, 3, 32, 32)
    compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)  # no constants are there yet
    torch.manual_seed(1)
    expected = model(image).logit_B
    torch.manual_seed(1)
    assert torch.allclose(compiled(image).logit_B, expected, atol=1e-5)


def test_pretrained_xception_reaches_both_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's own loading, from torch's cache, which already holds the file of the weights."""
    original = timm.create_model("legacy_xception")
    for part in original.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.get_buffer("running_mean"))
    url = timm.get_pretrained_cfg("legacy_xception.tf_in1k").url
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(original.state_dict(), cache / url.rpartition("/")[2])
    model = models.build(F3NetConfig(pretrained="imagenet", size=64))
    assert isinstance(model, F3Net)
    assert model.fad_stream is not None
    assert model.lfs_stream is not None
    first = original.conv1.weight
    assert torch.allclose(model.fad_stream.conv1.weight, first.repeat(1, 4, 1, 1) / 4)
    assert torch.allclose(model.lfs_stream.conv1.weight, first.repeat(1, 2, 1, 1) / 2)
    for stream in (model.fad_stream, model.lfs_stream):
        state = stream.state_dict()
        assert all(torch.equal(state[name], original.state_dict()[name]) for name in state if name != "conv1.weight")
    # and our Xception in parts is timm's in one
    plain = Xception(3)
    plain.load_state_dict({name: value for name, value in original.state_dict().items() if not name.startswith("fc")})
    plain.eval()
    original.eval()
    image = torch.randn(1, 3, 75, 75)
    with torch.inference_mode():
        assert torch.allclose(plain.exit(plain.late(plain.early(image))), original.forward_features(image), atol=1e-5)


def test_narrow_streams_have_no_pretrained_weights() -> None:
    with pytest.raises(UsageError, match="width"):
        build(pretrained="imagenet")
