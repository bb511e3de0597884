"""One small model of each family: weights at random, exported as people export them, and the family's own pipeline.

A family is a function that writes a model's folder and returns a `Family`: how Python embeds pictures and texts. What
makes a network a member of its family is its code and its processor, not its size, so all are as small as their code
allows.
"""

import contextlib
import dataclasses
import io
import json
import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torchvision
import transformers as hf
from onnxruntime import quantization
from onnxruntime.transformers import float16

import texts

# What ONNX Runtime recommends before quantisation.
logging.getLogger().setLevel(logging.ERROR)


@dataclasses.dataclass
class Family:
    """`images` takes a list of PIL pictures, `texts` a list of strings; both give a matrix. `ids` gives token ids."""

    images: callable = None
    texts: callable = None
    ids: callable = None


# Whether weights are drawn anew by `liven`, or are those that the family's code begins training with.
LIVELY = True


def liven(model, seed):
    """Weights that tell inputs apart. A library's own initialisation is made for training: it is so small that a fresh
    network gives nearly the same vector for every picture, and anything agrees with it. With these, a difference of one
    level in some pixels shows, more than it does in a trained network."""
    if not LIVELY:
        return model.eval()
    generator = torch.Generator().manual_seed(seed)

    def fill(tensor, std, mean=0.0):
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * std + mean)

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and not any(word in name for word in ("token", "position", "pos_embed", "probe")):
                fill(weight, (2.0 / weight[0].numel()) ** 0.5)
            elif weight.ndim > 1:
                fill(weight, 0.3)
            elif name.endswith("weight"):
                fill(weight, 0.1, 1.0)
            elif weight.ndim == 1 and not name.endswith("gamma") and "lambda" not in name:
                fill(weight, 0.1)
            elif weight.ndim == 1:
                fill(weight, 0.1, 1.0)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                fill(buffer, 0.1)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval()


class Only(torch.nn.Module):
    """A part of a model as a network by itself: `call` names its inputs."""

    def __init__(self, model, call):
        super().__init__()
        self.model, self.call = model, call
        self.eval()

    def forward(self, *inputs):
        return self.call(self.model, *inputs)


def export(module, examples, path, inputs, outputs, dynamo=False):
    """Writes ONNX: through TorchScript, as published exports were, or as torch does it by itself today."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = {name: {0: "batch", **({1: "tokens"} if "ids" in name or "mask" in name else {})} for name in inputs}
    how = {"dynamic_axes": axes, "opset_version": 17}
    if dynamo:
        how = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
        if isinstance(module, Only):
            how = {"dynamic_shapes": (({0: torch.export.Dim("batch")},),)}
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, examples, str(path), input_names=inputs, output_names=outputs, dynamo=dynamo, **how
        )
    # The exporter leaves a wrapper in the mode that it was made in, which is that for training.
    module.eval()


def pixels(side, count=2):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def tokens(length=9):
    return torch.arange(2 * length).reshape(2, length) + 5


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def batches(call, many, size=4):
    with torch.no_grad():
        found = [call(many[at : at + size]) for at in range(0, len(many), size)]
    return torch.cat(found).float().numpy()


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def by_processor(folder, call):
    """The pipeline of a transformers model: its saved processor, its network."""
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    return lambda pictures: batches(lambda some: call(**processor(images=some, return_tensors="pt")), pictures)


# What reduce.py makes smaller.
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
SIDE, PATCH, WIDTH = 224, 32, 96
FASTVIT = {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)}


# Two encoders


def clip_model(folder, seed=11):
    vocabulary, merges = texts.clip()
    tokenizer = hf.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = hf.CLIPConfig(
        text_config={**SMALL, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **ends},
        vision_config={**SMALL, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=48,
    )
    model = liven(hf.CLIPModel(config), seed)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    hf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return model


def clip_pipeline(folder, model):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)

    def embed(some):
        fed = tokenizer(some, padding=True, truncation=True, return_tensors="pt")
        return pooled(model.get_text_features(**fed))

    return Family(
        images=lambda some: unit(by_processor(folder, lambda **fed: pooled(model.get_image_features(**fed)))(some)),
        texts=lambda some: unit(batches(embed, some)),
        ids=lambda some: tokenizer(some, truncation=True)["input_ids"],
    )


def pooled(output):
    """Feature functions return a tensor, or since transformers 5 an object that holds it."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def clip_parts(folder, model):
    vision = Only(model, lambda model, pixel_values: pooled(model.get_image_features(pixel_values=pixel_values)))
    export(vision, (pixels(SIDE),), folder / "onnx/vision_model.onnx", ["pixel_values"], ["image_embeds"])
    text = Only(model, lambda model, ids: pooled(model.get_text_features(input_ids=ids)))
    export(text, (tokens(),), folder / "onnx/text_model.onnx", ["input_ids"], ["text_embeds"])


def clip(folder):
    """vision_model.onnx and text_model.onnx."""
    model = clip_model(folder)
    clip_parts(folder, model)
    return clip_pipeline(folder, model)


def clip_f16(folder):
    """The same in half precision, held to full precision in Python."""
    family = clip(folder)
    for name in ("vision_model", "text_model"):
        full = folder / f"onnx/{name}.onnx"
        onnx.save(float16.convert_float_to_float16(onnx.load(full), keep_io_types=True), folder / f"onnx/{name}_fp16.onnx")
        full.unlink()
    return family


def clip_external(folder):
    """The same with every weight in a file beside each network, as large exports are."""
    family = clip(folder)
    for name in ("vision_model", "text_model"):
        whole = onnx.load(folder / f"onnx/{name}.onnx")
        (folder / f"onnx/{name}.onnx").unlink()
        onnx.save(
            whole, folder / f"onnx/{name}.onnx", save_as_external_data=True, location=f"{name}.onnx_data", size_threshold=0
        )
    return family


def in_onnx(path, output=0):
    """A network in ONNX Runtime, one item at a time: what a quantised network computes is known by running it."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(**fed):
        names = [one.name for one in session.get_inputs()]
        count = len(fed[names[0]])
        rows = [{name: fed[name][at : at + 1].numpy() for name in names} for at in range(count)]
        return torch.from_numpy(np.concatenate([session.run(None, row)[output] for row in rows]))

    return run


def clip_int8(folder):
    """Both networks with weights of 8 bits, activations quantised as they come: ONNX Runtime's dynamic quantisation."""
    model = clip_model(folder)
    clip_parts(folder, model)
    for name in ("vision_model", "text_model"):
        full = folder / f"onnx/{name}.onnx"
        quantized = folder / f"onnx/{name}_quantized.onnx"
        quantization.quantize_dynamic(full, quantized, weight_type=quantization.QuantType.QUInt8)
        full.unlink()
    vision, text = (in_onnx(folder / f"onnx/{name}_model_quantized.onnx") for name in ("vision", "text"))
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    ids = lambda some: tokenizer(some, truncation=True)["input_ids"]
    # One at a time, and so without padding.
    embed = lambda some: torch.cat([text(input_ids=torch.tensor([one])) for one in ids(some)])
    return Family(
        images=lambda some: unit(by_processor(folder, vision)(some)), texts=lambda some: unit(batches(embed, some)), ids=ids
    )


def mobileclip(folder, seed=13):
    """As MobileCLIP is published: a FastViT of timm, its branches merged, beside CLIP's text network; pictures at 256,
    bilinear, and without mean and deviation."""
    projection, side = 48, SIDE * 8 // 7
    vocabulary, merges = texts.clip()
    tokenizer = hf.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {**SMALL, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **ends}
    config = hf.CLIPConfig(text_config=shape, vision_config={"image_size": side}, projection_dim=projection)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    hf.CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, resample=2, do_normalize=False
    ).save_pretrained(folder)

    vision = liven(timm.create_model("fastvit_mci0", pretrained=False, num_classes=projection, **FASTVIT), seed)
    text = liven(hf.CLIPTextModelWithProjection(hf.CLIPTextConfig(**shape, projection_dim=projection)), seed)
    merged = timm.utils.reparameterize_model(vision)
    export(merged, (pixels(side),), folder / "onnx/vision_model.onnx", ["pixel_values"], ["image_embeds"])
    whole = Only(text, lambda model, ids: model(input_ids=ids).text_embeds)
    export(whole, (tokens(),), folder / "onnx/text_model.onnx", ["input_ids"], ["text_embeds"])

    def embed(some):
        return text(**tokenizer(some, padding=True, truncation=True, return_tensors="pt")).text_embeds

    return Family(
        images=lambda some: unit(by_processor(folder, lambda pixel_values: vision(pixel_values))(some)),
        texts=lambda some: unit(batches(embed, some)),
        ids=lambda some: tokenizer(some, truncation=True)["input_ids"],
    )


def clip_combined(folder):
    """One model.onnx that computes scores, too, as the exporters' default task gives."""
    model = clip_model(folder, 12)

    def call(model, ids, picture, mask):
        out = model(input_ids=ids, pixel_values=picture, attention_mask=mask)
        return out.logits_per_image, out.logits_per_text, out.text_embeds, out.image_embeds

    export(
        Only(model, call),
        (tokens(), pixels(SIDE), torch.ones(2, 9, dtype=torch.int64)),
        folder / "model.onnx",
        ["input_ids", "pixel_values", "attention_mask"],
        ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
    )
    return clip_pipeline(folder, model)


def siglip_like(folder, tokenizer, seed):
    config = hf.SiglipConfig(
        text_config={
            **SMALL, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": SMALL["hidden_size"],
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={**SMALL, "image_size": SIDE, "patch_size": PATCH},
    )
    model = liven(hf.SiglipModel(config), seed)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    hf.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)

    vision = Only(model.vision_model, lambda model, picture: tuple(model(picture)[:2]))
    export(
        vision, (pixels(SIDE),), folder / "onnx/vision_model.onnx",
        ["pixel_values"], ["last_hidden_state", "pooler_output"],
    )
    text = Only(model.text_model, lambda model, ids: tuple(model(ids)[:2]))
    export(
        text, (tokens(64),), folder / "onnx/text_model.onnx", ["input_ids"], ["last_hidden_state", "pooler_output"]
    )

    fill = {"padding": "max_length", "max_length": 64, "truncation": True}
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)

    def embed(some):
        ids = tokenizer(some, return_tensors="pt", **fill)["input_ids"]
        return pooled(model.get_text_features(input_ids=ids))

    return Family(
        images=lambda some: unit(by_processor(folder, lambda **fed: pooled(model.get_image_features(**fed)))(some)),
        texts=lambda some: unit(batches(embed, some)),
        ids=lambda some: tokenizer(some, truncation=True, max_length=64)["input_ids"],
    )


def siglip(folder):
    """Texts padded to 64 tokens; vectors from the pooling head."""
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=texts.siglip(), unk_token="<unk>", eos_token="</s>", pad_token="</s>", model_max_length=64
    )
    return siglip_like(folder, tokenizer, 21)


def siglip2(folder):
    """As published at fixed sizes: the network of SigLIP and a tokenizer like Gemma's."""
    vocabulary, merges = texts.siglip2()
    tokenizer = hf.Siglip2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=64, padding_side="right")
    return siglip_like(folder, tokenizer, 22)


# Pictures only


def of_transformers(folder, model, processor, output, outputs=("last_hidden_state", "pooler_output"), file="model.onnx"):
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    whole = Only(model, lambda model, picture: tuple(model(picture)[: len(outputs)]))
    export(whole, (pixels(SIDE),), folder / file, ["pixel_values"], list(outputs))
    return Family(images=by_processor(folder, lambda **fed: output(model(**fed))))


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def dinov2(folder):
    """The pooled output; pictures at 256 cropped to 224."""
    config = hf.Dinov2Config(
        hidden_size=SMALL["hidden_size"], num_hidden_layers=SMALL["num_hidden_layers"], num_attention_heads=2,
        image_size=SIDE, patch_size=PATCH, mlp_ratio=2,
    )
    processor = hf.BitImageProcessor(
        size={"shortest_edge": SIDE * 8 // 7}, crop_size={"height": SIDE, "width": SIDE}, resample=3, **IMAGENET
    )
    model = liven(hf.Dinov2Model(config), 31)
    return of_transformers(folder, model, processor, lambda out: out.pooler_output, file="onnx/model.onnx")


def vit(folder):
    """The class token of the last layer."""
    model = liven(hf.ViTModel(hf.ViTConfig(**SMALL, image_size=SIDE, patch_size=PATCH)), 41)
    return of_transformers(folder, model, hf.ViTImageProcessor(size={"height": SIDE, "width": SIDE}), lambda out: out.last_hidden_state[:, 0])


def vit_classifier(folder):
    """Exported with scores only: cut behind the last layer."""
    model = liven(hf.ViTForImageClassification(hf.ViTConfig(**SMALL, image_size=SIDE, patch_size=PATCH, num_labels=17)), 42)
    model.config.save_pretrained(folder)
    hf.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    scores = Only(model, lambda model, picture: model(picture).logits)
    export(scores, (pixels(SIDE),), folder / "model.onnx", ["pixel_values"], ["logits"])
    return Family(images=by_processor(folder, lambda **fed: model.vit(**fed).last_hidden_state[:, 0]))


def resnet(folder):
    """The globally pooled map."""
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[WIDTH // 4, WIDTH // 4, WIDTH // 2, WIDTH], depths=[1, 1, 1, 1], layer_type="basic")
    processor = hf.ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=0.875, resample=3, **IMAGENET)
    model = liven(hf.ResNetModel(config), 51)
    return of_transformers(folder, model, processor, lambda out: out.pooler_output.flatten(1))


class Calibration(quantization.CalibrationDataReader):
    """Random pictures, from which the ranges of activations are taken."""

    def __init__(self, count=4):
        self.left = [{"pixel_values": one[None].numpy() * 4 - 2} for one in pixels(SIDE, count)]

    def get_next(self):
        return self.left.pop() if self.left else None


def resnet_int8(folder):
    """Weights and activations of 8 bits with ranges fixed beforehand: ONNX Runtime's static quantisation."""
    resnet(folder)
    full, quantized = folder / "model.onnx", folder / "model_quantized.onnx"
    quantization.quantize_static(full, quantized, Calibration(), per_channel=True)
    full.unlink()
    run = in_onnx(quantized, output=1)
    return Family(images=by_processor(folder, lambda **fed: run(**fed).flatten(1)))


def convnext(folder):
    """The pooled and normalised map."""
    config = hf.ConvNextConfig(hidden_sizes=[WIDTH // 4, WIDTH // 4, WIDTH // 2, WIDTH], depths=[1, 1, 1, 1])
    processor = hf.ConvNextImageProcessor(size={"shortest_edge": SIDE}, resample=3, **IMAGENET)
    model = liven(hf.ConvNextModel(config), 61)
    return of_transformers(folder, model, processor, lambda out: out.pooler_output)


def by_transform(transform, call):
    return lambda pictures: batches(lambda some: call(torch.stack([transform(one) for one in some])), pictures)


def timm_mobilenet(folder):
    """A classifier of timm with its config.json: cut behind the last layer."""
    model = liven(timm.create_model("mobilenetv3_small_050", pretrained=False), 71)
    keys = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes", "pool_size")
    config = {key: model.pretrained_cfg.get(key) for key in keys}
    write(
        folder / "config.json",
        {"architecture": "mobilenetv3_small_050", "num_classes": 1000, "pretrained_cfg": config},
    )
    export(model, (pixels(224),), folder / "model.onnx", ["pixels"], ["scores"], dynamo=True)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    return Family(
        images=by_transform(
            transform, lambda fed: model.forward_head(model.forward_features(fed), pre_logits=True).flatten(1)
        )
    )


def timm_squash(folder):
    """A headless timm model that squashes pictures."""
    settings = {"input_size": (3, 160, 160), "crop_pct": 0.9, "crop_mode": "squash", "interpolation": "bilinear"}
    model = liven(timm.create_model("resnet10t", pretrained=False, num_classes=0, pretrained_cfg_overlay=settings), 72)
    config = {**settings, "mean": list(model.pretrained_cfg["mean"]), "std": list(model.pretrained_cfg["std"])}
    write(folder / "config.json", {"architecture": "resnet10t", "num_classes": 0, "pretrained_cfg": config})
    export(model, (pixels(160),), folder / "onnx/model.onnx", ["pixels"], ["features"], dynamo=True)
    data = timm.data.resolve_data_config(settings, model=model)
    return Family(images=by_transform(timm.data.create_transform(**data), model))


PREPROCESS = {
    "resize": {"mode": "shortest_edge", "size": 256},
    "crop": {"width": 224, "height": 224, "align": "half_even"},
    "filter": "bilinear",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def torchvision_resnet(folder):
    """Exported whole; the manifest names the tensor before the classifier."""
    model = liven(torchvision.models.resnet18(), 81)
    export(model, (pixels(224),), folder / "resnet18.onnx", ["pixels"], ["scores"])
    (cut,) = (node.output[0] for node in onnx.load(folder / "resnet18.onnx").graph.node if node.op_type == "Flatten")
    image = {"file": "resnet18.onnx", "output": cut, "preprocess": PREPROCESS}
    write(folder / "manifest.json", {"format": 1, "dims": 512, "image": image})
    headless = torch.nn.Sequential(*list(model.children())[:-1], torch.nn.Flatten())
    return Family(images=by_transform(torchvision.models.ResNet18_Weights.DEFAULT.transforms(), headless))


def vgg16_fc2(folder):
    """VGG16 with narrow convolutions; 4,096 dimensions out of its second fully connected layer."""
    letters = [8, 8, "M", 12, 12, "M", 16, 16, 16, "M", 16, 16, 16, "M", 16, 16, 16, "M"]
    layers, width = [], 3
    for letter in letters:
        if letter == "M":
            layers.append(torch.nn.MaxPool2d(2, 2))
        else:
            layers += [torch.nn.Conv2d(width, letter, 3, padding=1), torch.nn.ReLU()]
            width = letter
    model = torchvision.models.VGG(torch.nn.Sequential(*layers), init_weights=False)
    model.classifier[0] = torch.nn.Linear(width * 7 * 7, 4096)
    liven(model, 91)
    export(model, (pixels(224),), folder / "vgg16.onnx", ["pixels"], ["scores"])
    graph = onnx.load(folder / "vgg16.onnx").graph
    fc2 = [node.output[0] for node in graph.node if node.op_type == "Relu"][-1]
    image = {"file": "vgg16.onnx", "output": fc2, "preprocess": PREPROCESS}
    write(folder / "manifest.json", {"format": 1, "dims": 4096, "image": image})
    headless = torch.nn.Sequential(model.features, model.avgpool, torch.nn.Flatten(), *list(model.classifier)[:-2])
    return Family(images=by_transform(torchvision.models.VGG16_Weights.DEFAULT.transforms(), headless))


class Own(torch.nn.Module):
    """A network of one's own that takes bytes, channels last, and returns a map of features."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 5, stride=4), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, stride=2), torch.nn.ReLU()
        )

    def forward(self, picture):
        return self.layers(picture.permute(0, 3, 1, 2).float() / 255)


def own(folder):
    """One's own network: bytes in, channels last; the largest value over a map, scaled to length 1."""
    model = liven(Own(), 95)
    example = (torch.zeros(2, 128, 96, 3, dtype=torch.uint8),)
    export(model, example, folder / "own.onnx", ["picture"], ["map"], dynamo=True)
    preprocess = {
        "resize": {"mode": "exact", "width": 96, "height": 128}, "filter": "lanczos", "scale": 1.0, "layout": "nhwc"
    }
    image = {
        "file": "own.onnx", "preprocess": preprocess, "layout": "nchw", "pooling": "gmp", "normalize": True
    }
    write(folder / "manifest.json", {"format": 1, "dims": 32, "image": image})

    def transform(picture):
        return torch.from_numpy(np.array(picture.resize((96, 128), 1)))

    return Family(images=lambda some: unit(by_transform(transform, lambda fed: model(fed).amax((2, 3)))(some)))


def sentence(folder):
    """A text model alone: WordPiece, the mean over the tokens."""
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=texts.bert(), unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    model = liven(hf.BertModel(hf.BertConfig(**SMALL, vocab_size=len(tokenizer), max_position_embeddings=64)), 99)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    whole = Only(model, lambda model, ids, mask: model(input_ids=ids, attention_mask=mask).last_hidden_state)
    export(
        whole, (tokens(), torch.ones(2, 9, dtype=torch.int64)), folder / "text.onnx",
        ["input_ids", "attention_mask"], ["last_hidden_state"],
    )
    text = {"file": "text.onnx", "tokenizer": "tokenizer.json", "max_tokens": 64, "normalize": True}
    write(folder / "manifest.json", {"format": 1, "dims": SMALL["hidden_size"], "text": text})
    fill = {"truncation": True, "max_length": 64}

    def embed(some):
        fed = tokenizer(some, padding=True, return_tensors="pt", **fill)
        mask = fed["attention_mask"][:, :, None]
        out = model(input_ids=fed["input_ids"], attention_mask=fed["attention_mask"]).last_hidden_state
        return (out * mask).sum(1) / mask.sum(1)

    return Family(
        texts=lambda some: unit(batches(embed, some)), ids=lambda some: tokenizer(some, **fill)["input_ids"]
    )


ALL = {
    "clip": clip,
    "clip-combined": clip_combined,
    "clip-f16": clip_f16,
    "clip-int8": clip_int8,
    "clip-external": clip_external,
    "mobileclip": mobileclip,
    "siglip": siglip,
    "siglip2": siglip2,
    "dinov2": dinov2,
    "vit": vit,
    "vit-classifier": vit_classifier,
    "resnet": resnet,
    "resnet-int8": resnet_int8,
    "convnext": convnext,
    "timm-mobilenet": timm_mobilenet,
    "timm-squash": timm_squash,
    "torchvision-resnet": torchvision_resnet,
    "vgg16-fc2": vgg16_fc2,
    "own": own,
    "sentence": sentence,
}
