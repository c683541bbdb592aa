import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/directory")
model = AutoModelForQuestionAnswering.from_pretrained("path/to/this/directory")
question, paragraph = "青田站何時啟用？", "青田站於1926年啟用，位於嵐山縣北端。"

inputs = tokenizer(question, paragraph, truncation="only_second", stride=128, padding=True,
                   return_overflowing_tokens=True, return_offsets_mapping=True, return_tensors="pt")
offsets, _ = inputs.pop("offset_mapping"), inputs.pop("overflow_to_sample_mapping")
with torch.inference_mode():
    logits = model(**inputs)
# Of the spans of at most 30 tokens of the paragraph the best one of all windows.
scores = logits.start_logits[:, :, None] + logits.end_logits[:, None, :]
inside = torch.tensor([[part == 1 for part in window.sequence_ids] for window in inputs.encodings])
spans = (inside[:, :, None] & inside[:, None, :]).triu().tril(29)
best = scores.masked_fill(~spans, -torch.inf).argmax()
window, start, end = torch.unravel_index(best, scores.shape)
print(paragraph[offsets[window, start, 0] : offsets[window, end, 1]].strip())
