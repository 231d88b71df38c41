// Runs the cases of cases.json with the Swift binding: driver CASES MODEL_FOLDER. Prints one JSON object per line.
import Florence2
import Foundation

typealias Object = [String: Any]

let folder = URL(filePath: CommandLine.arguments[2])
let model = try Florence2Model(contentsOf: folder)

struct Enough: Error {}

func kind(_ shape: Florence2Region.Shape) -> String {
    switch shape {
    case .box: "box"
    case .quad: "quad"
    case .polygon: "polygon"
    }
}

func said(_ answer: Florence2Answer) -> Object {
    let regions = answer.regions.map { region in
        let points = region.shape.points.map { [$0.x, $0.y] }
        return ["kind": kind(region.shape), "label": region.label, "points": points] as Object
    }
    return [
        "text": answer.text, "token_ids": answer.tokenIDs, "sequence_score": answer.sequenceScore,
        "regions": regions, "alternatives": answer.alternatives.map(\.text),
    ]
}

func request(_ asked: Object, encodeFirst: Bool) throws -> Florence2Request {
    let image = try Florence2Image(contentsOf: folder.appending(path: "scenes/\(asked["image"] as! String)"))
    let input: Florence2Request.ImageInput = encodeFirst ? .features(try model.encodeImage(image)) : .image(image)
    if let prompt = asked["prompt"] as? String { return Florence2Request(input, .text(prompt)) }
    let task = Florence2Task(rawValue: asked["task"] as! String)
    if let region = asked["region"] as? [Double] {
        let pixels = Florence2Request.Region.pixels(x1: region[0], y1: region[1], x2: region[2], y2: region[3])
        return Florence2Request(input, .task(task, .region(pixels)))
    }
    return Florence2Request(input, .task(task, (asked["input"] as? String).map { .text($0) }))
}

func listen(_ request: Florence2Request, _ options: Florence2Model.RunOptions, stopAfter: Int?) throws -> Object {
    var heard = ""
    var tokens = 0
    do {
        _ = try model.run(request, options: options) { token in
            heard += token.text
            tokens += 1
            if tokens == stopAfter { throw Enough() }
        }
    } catch is Enough {}
    return ["streamed": heard, "stopped": tokens]
}

@MainActor func endEarly(
    _ request: Florence2Request, _ options: Florence2Model.RunOptions, call: String, afterMilliseconds: Int
) async -> Object {
    var options = options
    if call == "deadline" { options.timeout = .milliseconds(afterMilliseconds) }
    let task = Task { [options] in try await model.run(request, options: options) }
    if call == "cancel" {
        try? await Task.sleep(for: .milliseconds(afterMilliseconds))
        task.cancel()
    }
    do {
        _ = try await task.value
        return [:]
    } catch {
        let expired = (error as? Florence2Error)?.status == .deadlineExceeded
        return ["cancelled": error is CancellationError, "expired": expired]
    }
}

@MainActor func say(_ asked: Object) async throws -> Object {
    let call = asked["call"] as! String
    if call == "load" {
        let options = Florence2Model.LoadOptions(device: asked["device"] as? String)
        let directory = (asked["directory"] as? String).map { URL(filePath: $0) }
        _ = try Florence2Model(contentsOf: directory ?? folder, options: options)
        return [:]
    }
    let requests = try (asked["requests"] as! [Object]).map {
        try request($0, encodeFirst: asked["encode_first"] != nil)
    }
    var options = Florence2Model.RunOptions()
    options.coordinates = .hfIntegers
    if let generation = asked["generation"] {
        let json = try JSONSerialization.data(withJSONObject: generation)
        options.generationConfig = String(decoding: json, as: UTF8.self)
    }
    switch call {
    case "score":
        let score = try await model.score(requests[0], target: asked["target"] as! String)
        return ["loss": score.loss, "log_probs": score.tokens.map(\.logProb)]
    case "stream", "stop":
        return try listen(requests[0], options, stopAfter: asked["stop_after"] as? Int)
    case "cancel", "deadline":
        return await endEarly(requests[0], options, call: call, afterMilliseconds: asked["after_ms"] as! Int)
    default:
        return ["answers": try await model.runBatch(requests, options: options).map { said(try $0.get()) }]
    }
}

let cases = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: CommandLine.arguments[1])))
for asked in cases as! [Object] {
    var said: Object
    do {
        said = try await say(asked)
    } catch {
        said = ["error": "\(error)"]
    }
    said["name"] = asked["name"]
    print(String(decoding: try JSONSerialization.data(withJSONObject: said), as: UTF8.self))
}
