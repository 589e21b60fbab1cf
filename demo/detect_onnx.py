"""Draw what an exported detector finds: needs onnxruntime, numpy and cv2.

python detect_onnx.py detector.onnx image.jpg drawn.jpg [minimum score]
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

if len(sys.argv) not in (4, 5):
    sys.exit(__doc__)
model, source, target, *rest = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
entries = session.get_modelmeta().custom_metadata_map
classes = json.loads(entries['classes'])
height, width = json.loads(entries['input_size'])

# Fit the image into the size of the detector, and pad the rest.
original = cv2.imread(source)
if original is None:
    sys.exit(f'error: {source} is not an image')
scale = min(height / original.shape[0], width / original.shape[1])
fitted = cv2.resize(original, None, fx=scale, fy=scale)[:height, :width]
if entries['channel_order'] == 'RGB':
    fitted = fitted[:, :, ::-1]
image = np.empty((height, width, 3), np.uint8)
image[:] = json.loads(entries['pad_value'])
image[: fitted.shape[0], : fitted.shape[1]] = fitted

boxes, scores, labels = session.run(None, {'image': image})
# Boxes may reach into the padding.
boxes = (boxes / scale).clip(0, original.shape[1::-1] * 2)
for box, score, label in zip(boxes, scores, labels, strict=True):
    if score >= float(rest[0] if rest else 0.5):
        x1, y1, x2, y2 = map(round, box.tolist())
        print(f'{classes[label]}: score {score:.2f}, box {x1, y1, x2, y2} px')
        cv2.rectangle(original, (x1, y1), (x2, y2), (0, 200, 0))
        cv2.putText(
            original, classes[label], (x1, y1 + 12), 0, 0.4, (0, 0, 255)
        )
if not cv2.imwrite(target, original):
    sys.exit(f'error: cannot write {target}')
