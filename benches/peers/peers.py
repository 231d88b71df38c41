"""Compares libflorence2 with its peers on the same random weights. In each round, all engines run in turn.

Run by run.sh. Prints a table with ratios; --json OUT writes the rows.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import numpy as np
import torch
import torch.nn.functional as F

import onnxruntime
import openvino
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import Florence2Config, Florence2ForConditionalGeneration
from transformers.utils import logging

logging.disable_progress_bar()

SIDE, PROMPT_TOKENS, PAST_TOKENS, CAPTION_TOKENS, VOCABULARY = 768, 13, 32, 48, 51289
IMAGE_TOKENS = 577
ROUNDS = {"vision": 5, "encoder": 7, "step": 5, "caption": 3}
# The number of steps in a turn. They run consecutively, as in a caption. In the first step, threads sleep and the weights
# are not in the cache.
STEPS_IN_A_TURN = 24


def config(size):
    dim, layers, heads = (768, 6, 12) if size == "base" else (1024, 12, 16)
    widths = [128, 256, 512, 1024] if size == "base" else [256, 512, 1024, 2048]
    vision_heads = [width // 32 for width in widths]
    text = dict(
        model_type="bart", vocab_size=VOCABULARY, max_position_embeddings=1024, d_model=dim,
        encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads,
        decoder_attention_heads=heads, encoder_ffn_dim=4 * dim, decoder_ffn_dim=4 * dim,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
        is_encoder_decoder=True, scale_embedding=False, tie_word_embeddings=True,
    )
    vision = dict(
        depths=[1, 1, 9, 1], embed_dim=widths, num_heads=vision_heads, num_groups=vision_heads,
        window_size=12, projection_dim=dim,
    )
    return Florence2Config(text_config=text, vision_config=vision, image_token_id=VOCABULARY - 1)


class Vision(torch.nn.Module):
    """The vision tower and the projector."""

    def __init__(self, model):
        super().__init__()
        self.vision_tower = model.model.vision_tower
        self.projector = model.model.multi_modal_projector

    def forward(self, pixels):
        return self.projector(self.vision_tower(pixels).last_hidden_state)


class Encoder(torch.nn.Module):
    """The encoder, with embeddings as input."""

    def __init__(self, model):
        super().__init__()
        self.encoder = model.model.language_model.encoder

    def forward(self, embeddings):
        return self.encoder(inputs_embeds=embeddings).last_hidden_state


class Step(torch.nn.Module):
    """A decoder step with KV caches. It is reimplemented because the step of transformers cannot be exported."""

    def __init__(self, model):
        super().__init__()
        self.decoder, self.head = model.model.language_model.decoder, model.lm_head
        self.heads = model.config.text_config.decoder_attention_heads

    def forward(self, ids, past_keys, past_values, keys, values):
        decoder, rows = self.decoder, ids.shape[0]
        position = decoder.embed_positions.weight[2 + PAST_TOKENS]
        x = decoder.layernorm_embedding(F.embedding(ids, decoder.embed_tokens.weight) + position)
        dim = x.shape[-1]
        split = lambda y: y.view(rows, 1, self.heads, dim // self.heads).transpose(1, 2)
        join = lambda y: y.transpose(1, 2).reshape(rows, 1, dim)
        for index, layer in enumerate(decoder.layers):
            a = layer.self_attn
            k = torch.cat([past_keys[index], split(a.k_proj(x))], 2)
            v = torch.cat([past_values[index], split(a.v_proj(x))], 2)
            attended = F.scaled_dot_product_attention(split(a.q_proj(x)), k, v)
            x = layer.self_attn_layer_norm(x + a.out_proj(join(attended)))
            a = layer.encoder_attn
            k, v = (cache[index].expand(rows, -1, -1, -1) for cache in (keys, values))
            attended = F.scaled_dot_product_attention(split(a.q_proj(x)), k, v)
            x = layer.encoder_attn_layer_norm(x + a.out_proj(join(attended)))
            x = layer.final_layer_norm(x + layer.fc2(F.gelu(layer.fc1(x))))
        return self.head(x[:, 0])


def step_inputs(model, beams):
    text = model.config.text_config
    layers, heads, head_dim = text.decoder_layers, text.decoder_attention_heads, text.d_model // text.decoder_attention_heads
    past = [torch.randn(layers, beams, heads, PAST_TOKENS, head_dim) for _ in "kv"]
    cross = [torch.randn(layers, 1, heads, IMAGE_TOKENS + PROMPT_TOKENS, head_dim) for _ in "kv"]
    return [torch.full((beams, 1), 7), *past, *cross]


class Ours:
    """The process of the benches' binary, which runs one part for each line that it reads."""

    def __init__(self, binary, precision, checkpoint, threads, **variables):
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), **variables}
        self.process = subprocess.Popen(
            [binary, "--serve", precision, str(checkpoint)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, part):
        self.process.stdin.write(part + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the benches' binary ended at `{part}`")
        return float(line)


def timed(work):
    def run():
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def export(path, module, inputs):
    """Exports the module as ONNX and as ONNX Runtime's dynamic int8, and the vision tower also as NNCF's int8 for OpenVINO."""
    names = input_names(inputs)
    if not path.exists():
        with torch.no_grad():
            torch.onnx.export(module, tuple(inputs), str(path), dynamo=False, opset_version=17, input_names=names)
    quantized = path.with_suffix(".int8.onnx")
    if not quantized.exists():
        quantize_dynamic(str(path), str(quantized), weight_type=QuantType.QInt8)
    compressed = path.with_suffix(".nncf.xml")
    if path.stem.endswith("vision") and not compressed.exists():
        # Static int8 with NNCF's scheme for transformers, as OpenVINO's users apply it.
        import nncf

        data = nncf.Dataset([np.random.randn(*inputs[0].shape).astype("f4") for _ in range(3)], lambda x: {names[0]: x})
        model = openvino.Core().read_model(str(path))
        openvino.save_model(nncf.quantize(model, data, subset_size=3, model_type=nncf.ModelType.TRANSFORMER), str(compressed))


def input_names(inputs):
    return [f"input{index}" for index in range(len(inputs))]


# The suffixes of the files that `export` writes, by engine and precision.
EXPORTED = {
    ("onnxruntime", "f32"): ".onnx",
    ("onnxruntime", "int8"): ".int8.onnx",
    ("openvino", "f32"): ".onnx",
    ("openvino", "bf16"): ".onnx",
    ("openvino", "int8"): ".nncf.xml",
}


def load_exported(engine, precision, file, threads):
    """Returns a function that runs the model on inputs by name."""
    if engine == "onnxruntime":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return lambda feed: session.run(None, feed)
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if precision != "int8":
        hints["INFERENCE_PRECISION_HINT"] = precision
    core = openvino.Core()
    request = core.compile_model(core.read_model(str(file)), "CPU", hints).create_infer_request()
    return request.infer


def exported_engines(path, inputs, threads):
    feed = {name: value.numpy() for name, value in zip(input_names(inputs), inputs)}
    engines = {}
    for (engine, precision), end in EXPORTED.items():
        file = path.with_suffix(end)
        if file.exists():
            run = load_exported(engine, precision, file, threads)
            engines[engine, precision] = timed(lambda run=run: run(feed))
    return engines


def torch_engines(make_module, model, inputs):
    engines = {}
    for precision, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        cast = make_module(model[precision])
        values = [value.to(dtype) if value.is_floating_point() else value for value in inputs]

        def work(cast=cast, values=values):
            with torch.inference_mode():
                cast(*values)

        engines["torch", precision] = timed(work)
    return engines


def caption_engines(model):
    pixels = torch.randn(1, 3, SIDE, SIDE)
    ids = torch.tensor([[VOCABULARY - 1] * IMAGE_TOKENS + [7] * PROMPT_TOKENS])
    engines = {}
    for precision, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):

        def work(precision=precision, dtype=dtype):
            with torch.inference_mode():
                model[precision].generate(
                    input_ids=ids, pixel_values=pixels.to(dtype), num_beams=3, do_sample=False,
                    max_new_tokens=CAPTION_TOKENS, min_new_tokens=CAPTION_TOKENS,
                )

        engines["torch", precision] = timed(work)
    return engines


def turn(run, part):
    """Returns the median time of consecutive runs. For steps, it excludes the first run."""
    times = [run() for _ in range(STEPS_IN_A_TURN if part == "step" else 1)]
    return statistics.median(times[1:] or times)


def measure(rows, size, part, beams, engines):
    """Runs all engines in turn. The first round warms up and is not counted."""
    times = {engine: [] for engine in engines}
    for _ in range(1 + ROUNDS[part]):
        for engine, run in engines.items():
            times[engine].append(turn(run, part))
    base = statistics.median(times["openvino", "bf16"][1:]) if ("openvino", "bf16") in times else None
    for (engine, precision), seconds in times.items():
        median, least = statistics.median(seconds[1:]), min(seconds[1:])
        rows.append(dict(model=size, part=part, engine=engine, precision=precision, beams=beams, median_s=median, min_s=least))
        ratio = f"{median / base:.2f}" if base else ""
        print(f"| {size} | {part} | {beams} | {engine} | {precision} | {median * 1e3:.1f} | {least * 1e3:.1f} | {ratio} |", flush=True)


def measure_beams(size, ours):
    """Measures the ratio of libflorence2's step with 3 beams to that with 1 beam. The two alternate, because parts run
    minutes apart."""
    ratios = {}
    for precision, engine in ours.items():
        turns = {"step 1": [], "step 3": []}
        for _ in range(1 + ROUNDS["step"]):
            for command, times in turns.items():
                times.append(turn(lambda: engine.run(command), "step"))
        one, three = (statistics.median(times[1:]) for times in turns.values())
        ratios[precision] = three / one
    listed = ", ".join(f"{precision} {ratio:.2f}" for precision, ratio in ratios.items())
    print(f"\n{size}, a step of 3 beams over one of 1, florence2's taking turns: {listed}")
    return ratios


def kilobytes(pid, name):
    """Returns a value in kB from a process's status file."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def start(engine, precision, file, threads):
    """Measures the start of a peer in this process: the seconds of the load, the first image and the next, and the peak
    memory in bytes without the libraries."""
    # Resets the peak, so that it excludes the libraries, which are loaded already.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("self", "VmRSS")
    pixels = torch.randn(1, 3, SIDE, SIDE)
    started = time.perf_counter()
    if engine == "torch":
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
        vision = Vision(Florence2ForConditionalGeneration.from_pretrained(file, dtype=dtype).eval())
        work = torch.inference_mode()(lambda: vision(pixels.to(dtype)))
    else:
        run = load_exported(engine, precision, file, threads)
        work = lambda: run({input_names([pixels])[0]: pixels.numpy()})
    load = time.perf_counter() - started
    first, warm = timed(work)(), timed(work)()
    return dict(load_s=load, first_s=first, warm_s=warm, bytes=1024 * (kilobytes("self", "VmHWM") - before))


def start_ours(binary, precision, checkpoint, threads):
    """Measures the start of libflorence2 in a new process. The bytes include the process, which is small before the load."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    output = subprocess.check_output([binary, "--start", precision, str(checkpoint)], env=environment)
    load, first, warm, mebibytes = map(float, output.split())
    return dict(load_s=load, first_s=first, warm_s=warm, bytes=int(mebibytes) * 2**20)


def measure_starts(arguments, size, threads, checkpoint, vision):
    """Measures the start of every engine in its own process. libflorence2 and torch load the whole model, the others the
    vision tower."""
    rows = []
    print("\n| model | engine | precision | load ms | first image ms | next image ms | MiB at most |\n|---|---|---|---|---|---|---|")
    engines = [("florence2", precision, checkpoint) for precision in ("f32", "bf16", "int8")]
    engines += [(engine, precision, vision.with_suffix(end)) for (engine, precision), end in EXPORTED.items()]
    engines += [("torch", precision, checkpoint) for precision in ("f32", "bf16")]
    for engine, precision, file in engines:
        # The second start is reported: its file is in the system's cache.
        for _ in range(2):
            if engine == "florence2":
                row = start_ours(arguments.ours, precision, file, threads)
            else:
                command = [sys.executable, __file__, "--start", engine, precision, file, "--threads", str(threads)]
                row = json.loads(subprocess.check_output(command).splitlines()[-1])
        rows.append(dict(model=size, engine=engine, precision=precision, **row))
        milliseconds = " | ".join(f"{row[name] * 1e3:.0f}" for name in ("load_s", "first_s", "warm_s"))
        print(f"| {size} | {engine} | {precision} | {milliseconds} | {row['bytes'] / 2**20:.0f} |", flush=True)
    return rows


def vision_gigaflop(config):
    """Returns the GFLOP of the vision tower's products for one image."""
    vision, total, side = config.vision_config, 0, SIDE
    inputs = [vision.in_channels, *vision.embed_dim[:-1]]
    for stage, dim in enumerate(vision.embed_dim):
        side //= vision.patch_stride[stage]
        convolution = inputs[stage] * vision.patch_size[stage] ** 2 * dim
        linear = 2 * (4 + 2 * vision.mlp_ratio) * dim**2
        attention = 2 * dim * (vision.window_size**2 + dim // vision.num_groups[stage])
        total += side**2 * (convolution + vision.depths[stage] * (linear + attention))
    return 2e-9 * total


def measure_avx2(arguments, threads, checkpoint, config):
    """Measures the f32 vision tower without AVX-512, and its share of AVX2's peak throughput."""
    peak = lambda: json.loads(subprocess.check_output([arguments.folder / "peaks-avx2", str(threads)]))["f32_gflops"]
    engine = Ours(arguments.ours, "f32", checkpoint, threads, FLORENCE2_CPU_LEVEL="avx2")
    peaks = [peak()]
    seconds = [engine.run("vision") for _ in range(1 + ROUNDS["vision"])][1:]
    peaks.append(peak())
    engine.process.stdin.close()
    row = dict(median_s=statistics.median(seconds), min_s=min(seconds), peak_gflops=max(peaks))
    row["share_of_peak"] = vision_gigaflop(config) / row["median_s"] / row["peak_gflops"]
    print(f"\nWith AVX2 alone: vision {row['median_s'] * 1e3:.1f} ms, {row['share_of_peak']:.0%} of {row['peak_gflops']} GFLOP/s")
    return row


def measure_size(arguments, size, threads, report):
    """Measures the requested parts of a size. Its memory is freed on return, because large takes most of 24 GB."""
    torch.manual_seed(0)
    plain = Florence2ForConditionalGeneration(config(size)).eval()
    checkpoint = arguments.folder / f"{size}-checkpoint"
    # Rounded to f16, as in published checkpoints.
    plain.half().save_pretrained(checkpoint)
    plain.float()
    parts = [("vision", 1, "vision", Vision, [torch.randn(1, 3, SIDE, SIDE)])]
    tokens = IMAGE_TOKENS + PROMPT_TOKENS
    parts.append(("encoder", 1, "encoder", Encoder, [torch.randn(1, tokens, plain.config.text_config.d_model)]))
    parts += [("step", beams, f"step {beams}", Step, step_inputs(plain, beams)) for beams in (1, 3)]
    wanted = arguments.part or (["vision", "step"] if arguments.quick else [*ROUNDS, "start"])
    path = lambda command: arguments.folder / f"{size}-{command.replace(' ', '-')}.onnx"
    for part, _, command, module, inputs in parts:
        if part in wanted or (part == "vision" and "start" in wanted):
            export(path(command), module(plain), inputs)
    parts = [part for part in parts if part[0] in wanted]
    if arguments.export_only:
        return
    half = Florence2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.bfloat16).eval()
    model = {"f32": plain, "bf16": half}
    ours = {name: Ours(arguments.ours, name, checkpoint, threads) for name in ("f32", "bf16", "int8")}
    run_ours = lambda part: {
        ("florence2", name): lambda engine=engine: engine.run(part) for name, engine in ours.items()
    }
    for part, beams, command, module, inputs in parts:
        engines = run_ours(command)
        engines.update(exported_engines(path(command), inputs, threads))
        engines.update(torch_engines(module, model, inputs))
        measure(report["rows"], size, part, beams, engines)
        # Two parts of large do not fit into 24 GB.
        engines.clear()
    if "caption" in wanted:
        measure(report["rows"], size, "caption", 3, {**run_ours("caption"), **caption_engines(model)})
    if "step" in wanted:
        report["three_beams_over_one"][size] = measure_beams(size, ours)
    for engine in ours.values():
        engine.process.stdin.close()
        engine.process.wait()
    if "start" in wanted:
        report["starts"] += measure_starts(arguments, size, threads, checkpoint, path("vision"))
    if size == "base" and "vision" in wanted and (arguments.folder / "peaks-avx2").exists():
        report["avx2"] = measure_avx2(arguments, threads, checkpoint, plain.config)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--start", nargs=3, metavar=("ENGINE", "PRECISION", "FILE"), help="a peer's start alone, as JSON")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", choices=["base", "large"], help="one of the two alone")
    parser.add_argument("--part", choices=[*ROUNDS, "start"], action="append", help="these alone")
    parser.add_argument("--export-only", action="store_true", help="the peers' files, which a later run finds")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if not (arguments.start or (arguments.ours and arguments.folder)):
        parser.error("--ours and --folder are needed, or --start")
    threads = arguments.threads
    torch.set_num_threads(threads)
    if arguments.start:
        print(json.dumps(start(*arguments.start, threads)))
        return
    peaks = json.loads(subprocess.check_output([arguments.folder / "peaks", str(threads)]))
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    print(f"{cpu}, {threads} threads: {peaks['f32_gflops']} GFLOP/s f32, reads {peaks['read_gb_per_s']} GB/s\n")
    print("| model | part | beams | engine | precision | median ms | min ms | of OpenVINO bf16 |\n|---|---|---|---|---|---|---|---|")
    report = {"cpu": cpu, "peaks": peaks, "rows": [], "starts": [], "three_beams_over_one": {}, "avx2": None}
    sizes = ["base"] if arguments.quick else ["base", "large"]
    for size in [arguments.model] if arguments.model else sizes:
        measure_size(arguments, size, threads, report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


main()
