// The functions of the package, with the demo model:   tour IMAGE
import Florence2
import Foundation

func options(_ model: Florence2Model, _ image: Florence2Image) async throws {
    var options = Florence2Model.RunOptions(numBeams: 3, timeout: .seconds(60))
    options.maxNewTokens = 50
    options.coordinates = .hfIntegers
    let request = Florence2Request(image, task: .openVocabularyDetection, input: "orange star")
    let answer = try await model.run(request, options: options)
    print(answer.text, answer.regions.map(\.boundingBox.cgRect))
}

func shapes(_ model: Florence2Model, _ image: Florence2Image) async throws {
    let answer = try await model.run(Florence2Request(image, task: .ocrWithRegion))
    for region in answer.regions {
        switch region.shape {
        case .box(let box): print(region.label, box.cgRect)
        case .quad(let a, let b, let c, let d): print(region.label, [a, b, c, d].map(\.cgPoint))
        case .polygon(let ring): print(region.label, ring.map(\.cgPoint))
        }
    }
}

func stream(_ model: Florence2Model, _ image: Florence2Image) async throws {
    for try await token in model.tokens(Florence2Request(image, task: .detailedCaption)) {
        print(token.text, terminator: "")
    }
    print()
}

func cancel(_ model: Florence2Model, _ image: Florence2Image) async throws {
    let caption = Task { try await model.run(Florence2Request(image, task: .caption)) }
    caption.cancel()
    do {
        print(try await caption.value.text)
    } catch is CancellationError {
        print("cancelled")
    }
}

func batch(_ model: Florence2Model, _ image: Florence2Image) async throws {
    let requests = [
        Florence2Request(image, task: .ocr),
        Florence2Request(image, task: "<UNKNOWN>"),
    ]
    for outcome in try await model.runBatch(requests) {
        switch outcome {
        case .success(let answer): print(answer.text)
        case .failure(let error): print(error.status.name ?? "", error.message)
        }
    }
}

func encode(_ model: Florence2Model, _ image: Florence2Image) async throws {
    let features = try await model.encodeImage(image)
    let box = Florence2Request.Region.pixels(x1: 31, y1: 31, x2: 103, y2: 104)
    let category = try await model.run(Florence2Request(features, task: .regionToCategory, input: .region(box)))
    let score = try await model.score(Florence2Request(features, task: .caption), target: "a white circle")
    print(category.text, score.loss > 0)
}

func log() throws {
    try Florence2Library.setLogHandler(maxLevel: .warn) { print($0.level, $0.target, $0.message) }
}

let model = try await Florence2Model.load(.demo)
let image = try Florence2Image(contentsOf: URL(filePath: CommandLine.arguments[1]))
try log()
try await options(model, image)
try await shapes(model, image)
try await stream(model, image)
try await cancel(model, image)
try await batch(model, image)
try await encode(model, image)
