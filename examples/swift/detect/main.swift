// Finds objects in an image:   detect IMAGE [MODEL_FOLDER]
import Florence2

let arguments = CommandLine.arguments
guard arguments.count > 1 else { fatalError("usage: detect IMAGE [MODEL_FOLDER]") }

let model = try arguments.count > 2 ? Model(contentsOf: arguments[2]) : Model.demo()
let image = try Image(contentsOf: arguments[1])
let answer = try model.run(Request(image, task: "<OD>"))
for region in answer.regions {
    let corners = region.points.map { "(\(Int($0.x.rounded())), \(Int($0.y.rounded())))" }
    print(region.label, corners.joined(separator: " "))
}
