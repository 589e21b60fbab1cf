"""Print the latency of an ONNX file in ncnn: pip install ncnn pnnx.

The first run converts the file by pnnx and keeps the result beside it.
"""

import subprocess
import sys
import time
from pathlib import Path

import ncnn
import numpy as np

file = Path(sys.argv[1]).resolve()
threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
param = file.with_suffix('.ncnn.param')
if not param.exists():
    subprocess.run(['pnnx', file.name], cwd=file.parent, check=True)

net = ncnn.Net()
net.opt.num_threads = threads
net.load_param(str(param))
net.load_model(str(param.with_suffix('.bin')))
# pnnx writes the shapes of the inputs beside the operators.
text = file.with_suffix('.pnnx.param').read_text()
shapes = [
    tuple(map(int, line.split('=(')[1].split(')')[0].split(',')))
    for line in text.splitlines()
    if line.startswith('pnnx.Input')
]
inputs = [ncnn.Mat(np.ones(shape[1:], np.float32)) for shape in shapes]
times = []
for _ in range(12):
    start = time.perf_counter()
    run = net.create_extractor()
    for name, value in zip(net.input_names(), inputs, strict=True):
        run.input(name, value)
    for name in net.output_names():
        run.extract(name)
    times.append(time.perf_counter() - start)
print(f'{min(times) * 1e3:.4f} ms')
