"""Compares libflorence2 with transformers on one GPU, in one run with the same random weights in bf16.

Run by run.sh. Prints a table with ratios: transformers eager, and torch.compile with a static cache.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
import torch
from transformers import Florence2Config, Florence2ForConditionalGeneration

SIDE, PROMPT_TOKENS, CAPTION_TOKENS, IMAGE_TOKENS, JOB_IMAGES = 768, 13, 48, 577, 256


def config():
    sizes = json.loads((pathlib.Path(__file__).parent / "base.json").read_text())
    text = dict(
        sizes["text_config"], bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
        is_encoder_decoder=True, scale_embedding=False, tie_word_embeddings=True,
    )
    vocabulary = text["vocab_size"]
    return Florence2Config(text_config=text, vision_config=sizes["vision_config"], image_token_id=vocabulary - 1)


def inputs(model, batch):
    pixels = torch.randn(batch, 3, SIDE, SIDE, dtype=torch.bfloat16, device="cuda")
    row = [model.config.image_token_id] * IMAGE_TOKENS + [7] * PROMPT_TOKENS
    return dict(input_ids=torch.tensor([row] * batch, device="cuda"), pixel_values=pixels)


def vision(model, batch):
    model.get_image_features(inputs(model, batch)["pixel_values"])


def caption(model, batch, beams, **cache):
    model.generate(
        **inputs(model, batch), num_beams=beams, do_sample=False, no_repeat_ngram_size=3,
        max_new_tokens=CAPTION_TOKENS, min_new_tokens=CAPTION_TOKENS, **cache,
    )


def measure(work):
    """Returns the median of the seconds. The first calls warm up and compile, and are not counted."""
    times = []
    with torch.inference_mode():
        for _ in range(3):
            work()
        torch.cuda.synchronize()
        while len(times) < 3 or sum(times) < 5 and len(times) < 100:
            started = time.perf_counter()
            work()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def engines(model):
    """Returns a function per engine and part."""
    compiled_tower = torch.compile(model.model.vision_tower, mode="reduce-overhead")

    def compiled_vision(batch):
        model.model.multi_modal_projector(compiled_tower(inputs(model, batch)["pixel_values"]).last_hidden_state)

    static = dict(cache_implementation="static")
    return {
        "eager": dict(vision=lambda batch: vision(model, batch), caption=lambda batch, beams: caption(model, batch, beams)),
        "torch.compile": dict(vision=compiled_vision, caption=lambda batch, beams: caption(model, batch, beams, **static)),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--device", default="cuda:0")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    plain = Florence2ForConditionalGeneration(config()).eval()
    with tempfile.TemporaryDirectory() as folder:
        plain.save_pretrained(folder)
        rows = pathlib.Path(folder) / "rows.json"
        command = [arguments.bench, "--device", arguments.device, "--dtype", "bf16", "--checkpoint", folder, "--json", rows]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        ours = {(row["part"], row["batch"], row["beams"]): row for row in json.loads(rows.read_text())}
    model = plain.to("cuda", torch.bfloat16)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| part | batch | beams | libflorence2 ms | eager ms | of ours | torch.compile ms | of ours |\n|---|---|---|---|---|---|---|---|")
    peers = engines(model)
    for (part, batch, beams), row in ours.items():
        if part not in ("vision", "caption"):
            continue
        own = row["median_s"]
        cells = []
        for engine in peers.values():
            size = (batch,) if part == "vision" else (batch, beams)
            try:
                seconds = measure(lambda: engine[part](*size))
                cells += [f"{seconds * 1e3:.2f}", f"{seconds / own:.2f}"]
            except Exception as error:  # The table shows the error, and the next peer is measured.
                cells += [str(error).splitlines()[0][:60] if str(error) else type(error).__name__, ""]
        print(f"| {part} | {batch} | {beams} | {own * 1e3:.2f} | {' | '.join(cells)} |", flush=True)
    for (part, batch, beams), row in ours.items():
        if part == "job":
            print(f"\ncaption job, batch {batch}, {beams} beams: libflorence2 {row['images_per_s']:.1f} images per s, decoding and resizing included")


main()
