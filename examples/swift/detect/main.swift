// Finds objects in an image:   detect IMAGE [MODEL_FOLDER]
import Florence2
import Foundation

let arguments = CommandLine.arguments
guard arguments.count > 1 else { fatalError("usage: detect IMAGE [MODEL_FOLDER]") }

let model = try arguments.count > 2 ? Florence2Model(contentsOf: URL(filePath: arguments[2])) : Florence2Model.demo()
let image = try Florence2Image(contentsOf: URL(filePath: arguments[1]))
let answer = try model.run(Florence2Request(image, task: .objectDetection))
for region in answer.regions {
    let score = region.score.map { String(format: "%.0f %%", 100 * $0.overall) } ?? "-"
    let box = region.boundingBox
    let corners = String(format: "(%.0f, %.0f) (%.0f, %.0f)", box.x1, box.y1, box.x2, box.y2)
    print(score, region.label, corners)
}
