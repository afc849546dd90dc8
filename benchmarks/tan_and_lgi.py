"""Time of 2D-TAN and LGI against direct ports of the published networks, in one run on the same weights.

    python benchmarks/tan_and_lgi.py                          # every case, some minutes on one core
    python benchmarks/tan_and_lgi.py --cases charades_pool lgi_charades --batch_size 8 --repeats 5

The ports compute what the published code does, step by step: 2D-TAN one max-pool or convolution and one write
into the map per span length, the fusion on every cell, full padded map convolutions, and the counts of valid
cells by a convolution in every forward pass; LGI its layers as they stand. Outputs and, with `--train`,
gradients are checked to agree before anything is timed. Times are CPU seconds of the process, so that other
work on the machine does not count; the best of `--repeats`, taken in turn.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding

CASES = {
    "charades_pool": lambda: TANConfig.charades("pool"),
    "charades_conv": lambda: TANConfig.charades("conv"),
    "activitynet_pool": lambda: TANConfig.activitynet_captions("pool"),
    "lgi_charades": lambda: LGIConfig.charades(),
    "lgi_activitynet": lambda: LGIConfig.activitynet_captions(),
}


class DirectTAN(nn.Module):
    """2D-TAN as published, on the parameters of a library model."""

    def __init__(self, model: TANForVideoGrounding) -> None:
        super().__init__()
        self.model = model

    def proposal_map(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        config = self.model.config
        batch, dim, side = clips.shape
        maps, mask, state, offset = (
            clips.new_zeros(batch, dim, side, side),
            clips.new_zeros(1, 1, side, side),
            clips,
            0,
        )
        for scale, num_steps in enumerate(config.scale_layers):
            stride = 2**scale
            for step in range(num_steps):
                if config.proposals == "conv":
                    state = self.model.prop_layer.layers[scale][step](state)
                elif scale or step:
                    state = F.max_pool1d(state, *((2, 1) if step else (3, 2)))
                starts = torch.arange(0, side - offset - step * stride, stride)
                maps[:, :, starts, starts + offset + step * stride] = state
                mask[:, :, starts, starts + offset + step * stride] = 1
            offset += stride * (num_steps + 1)
        return maps, mask

    def forward(self, features: Tensor, word_vectors: Tensor, word_mask: Tensor) -> Tensor:
        model, config = self.model, self.model.config
        frame, fusion = model.frame_layer, model.fusion_layer
        rows = F.conv1d(
            features.transpose(1, 2), frame.vis_conv.weight[:, :, None], frame.vis_conv.bias
        ).relu()
        maps, mask = self.proposal_map(F.avg_pool1d(rows, config.rows_per_clip, config.rows_per_clip))
        states = fusion.textual_encoder(word_vectors)[0] * word_mask[:, :, None]
        last = states[torch.arange(len(states)), word_mask.sum(1).long() - 1]
        projected = F.conv2d(maps, fusion.vis_conv.weight[:, :, None, None], fusion.vis_conv.bias)
        maps = F.normalize(fusion.tex_linear(last)[:, :, None, None] * projected) * mask
        valid = mask
        for conv, padding in zip(model.map_layer.convs, config.map_paddings, strict=True):
            maps = F.conv2d(maps, conv.weight, conv.bias, padding=padding).relu()
            count = F.conv2d(valid, torch.ones_like(conv.weight[:1, :1]), padding=padding).round()
            valid = (count > 0).float()
            maps = maps * torch.where(count > 0, 1 / count, valid)
        return (
            F.conv2d(maps, model.pred_layer.weight[:, :, None, None], model.pred_layer.bias) * mask
        ).squeeze(1)


class DirectLGI(nn.Module):
    """LGI as published, on the parameters of a library model."""

    def __init__(self, model: LGIForVideoGrounding) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, feature_mask: Tensor, word_ids: Tensor) -> Tensor:
        model = self.model
        video, query, sqan, interaction, head = (
            model.video_enc,
            model.query_enc,
            model.sqan,
            model.vti_fn,
            model.ta_reg_fn,
        )
        column = feature_mask[:, :, None]
        rows = torch.arange(features.shape[1]).expand(len(features), -1)
        segments = video.vid_emb_fn(features) * column + video.pos_emb_fn(rows) * column

        word_mask = word_ids > 0
        lengths = word_mask.sum(1)
        packed = pack_padded_sequence(
            query.embedding(word_ids), lengths, batch_first=True, enforce_sorted=False
        )
        words = pad_packed_sequence(query.rnn(packed)[0], batch_first=True, total_length=word_ids.shape[1])[0]
        half = words.shape[2] // 2
        ends = words[torch.arange(len(words)), lengths - 1, :half]
        sentence = torch.cat([ends, words[:, 0, half:]], 1)

        phrase, phrases = torch.zeros_like(sentence), []
        for layer in sqan.global_emb_fn:
            guide = sqan.guide_emb_fn(torch.cat([layer(sentence), phrase], 1))
            hidden = torch.tanh(sqan.att_fn.key2att(guide)[:, None] + sqan.att_fn.feat2att(words))
            logits = sqan.att_fn.to_alpha(hidden)[:, :, 0].masked_fill(~word_mask, -1e9)
            phrase = (logits.softmax(1)[:, :, None] * words).sum(1)
            phrases.append(phrase)

        locals_ = []
        for fuse, local, phrase in zip(interaction.fusion_fn, interaction.local_fn, phrases, strict=True):
            product = fuse.fc_1(segments).relu() * fuse.fc_2(phrase).relu()[:, None]
            state = fuse.fc_3(product).relu().transpose(1, 2)
            for block in local.blocks:
                state = (block(state) + state).relu()
            locals_.append(state.transpose(1, 2))
        pooling = interaction.satt_fn
        weights = pooling.to_alpha(torch.tanh(pooling.feat2att(torch.stack(phrases, 1)))).softmax(1)
        segments = (torch.stack(locals_, 1) * weights[:, :, :, None]).sum(1)

        for block in interaction.global_fn:
            shape = (*segments.shape[:2], block.num_heads, -1)
            keys, values = (x.reshape(shape).transpose(1, 2) for x in block.c_lin(segments).chunk(2, 2))
            rows_ = block.v_lin(segments).reshape(shape).transpose(1, 2)
            logits = rows_ @ keys.transpose(2, 3) / rows_.shape[3] ** 0.5
            attention = logits.masked_fill(feature_mask[:, None, None] == 0, -1e9).softmax(3)
            segments = segments + (attention @ values).transpose(1, 2).reshape(segments.shape)

        logits = head.tatt.to_alpha(torch.tanh(head.tatt.feat2att(segments)))[:, :, 0]
        attention = logits.masked_fill(feature_mask == 0, -1e9).softmax(1)
        return head.MLP_reg(head.tatt.fc((attention[:, :, None] * segments).sum(1)))


def build(case: str, batch_size: int) -> tuple[nn.Module, nn.Module, dict[str, Tensor]]:
    """Return the library's model, the port on the same parameters, and made-up inputs."""
    config = CASES[case]()
    lengths = torch.randint(3, 11, (batch_size,))
    word_mask = (torch.arange(10) < lengths[:, None]).float()
    if isinstance(config, TANConfig):
        model = TANForVideoGrounding(config).eval()
        inputs = {
            "features": torch.randn(batch_size, config.num_rows, config.feature_dim),
            "word_vectors": torch.randn(batch_size, 10, config.word_dim) * word_mask[:, :, None],
            "word_mask": word_mask,
        }
        return model, DirectTAN(model), inputs
    model = LGIForVideoGrounding(config).eval()
    feature_mask = (torch.arange(config.num_rows) < torch.randint(40, 129, (batch_size, 1))).float()
    inputs = {
        "features": torch.randn(batch_size, config.num_rows, config.feature_dim) * feature_mask[:, :, None],
        "feature_mask": feature_mask,
        "word_ids": torch.randint(4, config.vocab_size, (batch_size, 10)) * word_mask.long(),
    }
    return model, DirectLGI(model), inputs


def measure(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the best CPU time of each step in seconds, the steps taken in turn."""
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            best[name] = min(best[name], time.process_time() - start)
    return best


def run_case(case: str, batch_size: int, repeats: int, train: bool) -> None:
    torch.manual_seed(0)
    model, port, inputs = build(case, batch_size)

    def result(network: nn.Module) -> Tensor:
        output = network(**inputs)
        return (
            output if network is port else output["logits" if "tan" in model.config.model_type else "spans"]
        )

    def forward(network: nn.Module) -> Tensor:
        with torch.inference_mode():
            return result(network)

    def forward_backward(network: nn.Module) -> Tensor:
        model.zero_grad()
        loss = result(network).square().mean()
        loss.backward()
        return loss

    torch.testing.assert_close(forward(model), forward(port), rtol=1e-4, atol=1e-4)
    passes = {"forward": forward}
    if train:
        passes["forward+backward"] = forward_backward
        gradients = []
        for network in (model, port):
            forward_backward(network)
            gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        for mine, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3 * float(theirs.abs().max()) + 1e-9)
    for name, function in passes.items():
        best = measure({"library": lambda: function(model), "port": lambda: function(port)}, repeats)  # noqa: B023
        print(
            f"{case:17} {name:17} batch {batch_size}: library {best['library'] * 1e3:8.1f} ms, "
            f"direct port {best['port'] * 1e3:8.1f} ms, {best['port'] / best['library']:.2f} x",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train", action="store_true", help="time forward + backward, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for case in args.cases:
        run_case(case, args.batch_size, args.repeats, args.train)


if __name__ == "__main__":
    main()
