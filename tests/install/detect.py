"""Finds objects in an image with the demo model, and prints them as examples/c/detect.c does:   detect.py IMAGE"""

import sys

from florence2 import Model

for region in Model.demo().run(sys.argv[1], "OD").regions:
    x1, y1, x2, y2 = region.bounding_box
    print(f"{100 * region.score.overall:3.0f} %  {region.label:<20} ({x1:.0f}, {y1:.0f}) ({x2:.0f}, {y2:.0f})")
