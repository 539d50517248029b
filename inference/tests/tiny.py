"""Tiny pipelines with random weights, in the real folder layouts: what the server loads in tests and benchmarks.

Under 100,000 parameters each, made in a fraction of a second, no downloads: the arithmetic is the real one, only the
pictures mean nothing. Run as a program it writes them for another process: `python -m tests.tiny FOLDER`.
"""

import json
import sys
from pathlib import Path

import onnx
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from onnx import TensorProto, helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 byte values, which CLIP's and our byte tokenizers share."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(rest))]


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    characters = _byte_characters()
    words = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "</s>", "<unk>", *_byte_characters()]
    core = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def stable_diffusion(folder: Path) -> Path:
    """A Stable Diffusion pipeline for text2img, img2img and inpaint, saved as safetensors."""
    torch.manual_seed(0)
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            block_out_channels=(4, 8),
            layers_per_block=1,
            sample_size=32,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            norm_num_groups=2,
        ),
        vae=_picture_vae(),
        text_encoder=_clip_text(),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def _clip_text(kind: type[CLIPTextModel] = CLIPTextModel, projection: int = 512) -> CLIPTextModel:
    return kind(
        CLIPTextConfig(
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
            hidden_size=32,
            intermediate_size=64,
            num_attention_heads=8,
            num_hidden_layers=3,
            vocab_size=514,
            projection_dim=projection,
        )
    )


def _picture_vae(latent_channels: int = 4, **more: object) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=[4, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=latent_channels,
        norm_num_groups=2,
        **more,
    )


def stable_diffusion_xl(folder: Path) -> Path:
    """SDXL's shape: two text encoders, pooled embeddings and size conditioning."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(folder / "tokenizer")
    StableDiffusionXLPipeline(
        unet=UNet2DConditionModel(
            block_out_channels=(4, 8),
            layers_per_block=1,
            sample_size=32,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=64,
            norm_num_groups=2,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=80,
            transformer_layers_per_block=(1, 1),
            use_linear_projection=True,
        ),
        vae=_picture_vae(),
        text_encoder=_clip_text(),
        text_encoder_2=_clip_text(CLIPTextModelWithProjection, 32),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=EulerDiscreteScheduler(),
    ).save_pretrained(folder)
    return folder


def flux(folder: Path) -> Path:
    """FLUX's shape: a transformer over packed latents, CLIP for the pooled and T5 for the token embeddings."""
    torch.manual_seed(0)
    FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
        vae=_picture_vae(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5),
        text_encoder=_clip_text(),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=259, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        tokenizer_2=byte_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    ).save_pretrained(folder)
    return folder


def wan(folder: Path) -> Path:
    """A Wan pipeline for text2video."""
    torch.manual_seed(0)
    WanPipeline(
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=32,
            freq_dim=256,
            ffn_dim=32,
            num_layers=2,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
        ),
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        text_encoder=UMT5EncoderModel(
            UMT5Config(vocab_size=259, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
        ),
        tokenizer=byte_tokenizer(),
        scheduler=UniPCMultistepScheduler(flow_shift=3.0, use_flow_sigmas=True, prediction_type="flow_prediction"),
    ).save_pretrained(folder)
    return folder


def classifier(folder: Path, labels: tuple[str, ...] = ("real", "fake"), side: int = 32, bias: float = 0.0) -> Path:
    """An ONNX classifier whose second logit is the mean of the picture plus `bias`; the others are 0."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(labels)])
    pick = [0.0] * len(labels)
    pick[1] = 1.0
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
            helper.make_node("Gemm", ["column", "pick", "bias"], ["logits"]),
        ],
        "classifier",
        [pixels],
        [logits],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
            helper.make_tensor("pick", TensorProto.FLOAT, [1, len(labels)], pick),
            helper.make_tensor("bias", TensorProto.FLOAT, [len(labels)], [bias * weight for weight in pick]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    described = {"labels": list(labels), "size": side, "mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "classifier.json").write_text(json.dumps(described))
    return folder


def everything(folder: Path) -> str:
    """All three below one folder; returns the value of INFERENCE_MODEL that serves every task."""
    made = (stable_diffusion(folder / "image"), wan(folder / "video"), classifier(folder / "classifier"))
    return ",".join(str(path) for path in made)


if __name__ == "__main__":
    print(everything(Path(sys.argv[1])))
