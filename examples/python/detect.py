"""Finds objects in an image:   detect.py IMAGE [MODEL_FOLDER]"""

import sys

from florence2 import Model

model = Model.load(sys.argv[2]) if len(sys.argv) > 2 else Model.demo()
result = model.run(sys.argv[1], "<OD>")
for region in result.regions:
    print(region.label, *(f"({x:.0f}, {y:.0f})" for x, y in region.points))
