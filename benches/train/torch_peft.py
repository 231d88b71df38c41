"""Times a training step of Florence-2-base by torch, transformers and PEFT, with random weights, on the CPU.

Run by run.sh. Prints one line of JSON, as the bench `train` does: the milliseconds of each step and the peak memory.
"""
import argparse
import json
import resource
import time

import peft
import torch
from transformers import Florence2Config, Florence2ForConditionalGeneration

PROMPT_TOKENS, ANSWER_TOKENS, IMAGE_TOKENS, SIDE = 13, 32, 577, 768
TARGETS = r".*language_model\..*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"


def config():
    text = json.load(open("benches/gpu/base.json"))
    text["text_config"] |= dict(dropout=0.0, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2)
    text["vision_config"] |= dict(drop_path_rate=0.0)
    return Florence2Config(image_token_id=text["text_config"]["vocab_size"] - 1, **{k: text[k] for k in ("text_config", "vision_config")})


def model_of(method):
    torch.manual_seed(1)
    model = Florence2ForConditionalGeneration(config()).train()
    if method == "lora":
        return peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS))
    if method == "frozen-vision":
        model.model.vision_tower.requires_grad_(False)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=["lora", "full", "frozen-vision"], default="lora")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = model_of(options.method)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0)
    image_token = model.config.image_token_id
    ids = torch.tensor([[image_token] * IMAGE_TOKENS + list(range(3, 3 + PROMPT_TOKENS))] * options.batch)
    labels = torch.tensor([list(range(3, 3 + ANSWER_TOKENS))] * options.batch)
    milliseconds = []
    for _ in range(options.steps):
        pixels = torch.rand(options.batch, 3, SIDE, SIDE)
        started = time.perf_counter()
        model(pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        milliseconds.append((time.perf_counter() - started) * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"method": options.method, "milliseconds": milliseconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()
