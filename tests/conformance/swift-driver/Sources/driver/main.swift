// Runs the cases of cases.json with the Swift binding: driver CASES MODEL_FOLDER. Prints one JSON object per line.
import Florence2
import Foundation

typealias Object = [String: Any]

let folder = CommandLine.arguments[2]
let model = try Model(contentsOf: folder)

struct Enough: Error {}

func said(_ answer: Answer) -> Object {
    let regions = answer.regions.map { region in
        ["kind": region.kind.rawValue, "label": region.label, "points": region.points.map { [$0.x, $0.y] }] as Object
    }
    return [
        "text": answer.text, "token_ids": answer.tokenIDs, "sequence_score": answer.sequenceScore,
        "regions": regions, "alternatives": (answer.alternatives ?? []).map(\.text),
    ]
}

func request(_ asked: Object, encodeFirst: Bool) throws -> Request {
    let image = try Image(contentsOf: "\(folder)/scenes/\(asked["image"] as! String)")
    var request = encodeFirst ? Request(try model.encode(image)) : Request(image)
    request.task = asked["task"] as? String
    request.prompt = asked["prompt"] as? String
    request.input = asked["input"] as? String
    if let region = asked["region"] as? [Double] {
        request.region = .pixels(x1: region[0], y1: region[1], x2: region[2], y2: region[3])
    }
    return request
}

func listen(_ request: Request, _ options: RunOptions, stopAfter: Int?) throws -> Object {
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
    _ request: Request, _ options: RunOptions, call: String, afterMilliseconds: Int
) async -> Object {
    var options = options
    if call == "deadline" { options.deadlineMilliseconds = UInt64(afterMilliseconds) }
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
        let options = Model.LoadOptions(device: asked["device"] as? String)
        _ = try Model(contentsOf: asked["directory"] as? String ?? folder, options: options)
        return [:]
    }
    let requests = try (asked["requests"] as! [Object]).map {
        try request($0, encodeFirst: asked["encode_first"] != nil)
    }
    var options = RunOptions()
    options.hfCompat = true
    if let generation = asked["generation"] {
        let json = try JSONSerialization.data(withJSONObject: generation)
        options.generationConfig = String(decoding: json, as: UTF8.self)
    }
    switch call {
    case "score":
        let score = try model.score(requests[0], target: asked["target"] as! String)
        return ["loss": score.loss, "log_probs": score.tokens.map(\.logProb)]
    case "stream", "stop":
        return try listen(requests[0], options, stopAfter: asked["stop_after"] as? Int)
    case "cancel", "deadline":
        return await endEarly(requests[0], options, call: call, afterMilliseconds: asked["after_ms"] as! Int)
    default:
        return ["answers": try await model.run(requests, options: options).map(said)]
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
