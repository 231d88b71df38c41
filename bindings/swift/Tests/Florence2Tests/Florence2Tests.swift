import Foundation
import Testing

@testable import Florence2

private let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().appending(path: "../../../../assets/demo-model").standardizedFileURL
private let scene = folder.appending(path: "scenes/scene-1.png")
private let nowhere = URL(filePath: "/nowhere")

private typealias Options = Florence2Model.RunOptions

/// The contents of the demo model's files, by their names.
private func demoFiles(
    _ names: [String] = [
        "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors",
    ]
) throws -> [String: Data] {
    try names.reduce(into: [:]) { $0[$1] = try Data(contentsOf: folder.appending(path: $1)) }
}

/// The files of an adapter whose update of one matrix of the demo model is all ones.
private func adapterFiles() -> [String: Data] {
    let (dModel, ffnDim) = (128, 512)
    let fc1 = "base_model.model.model.language_model.decoder.layers.0.fc1"
    let header = """
        {"\(fc1).lora_A.weight":{"dtype":"F32","shape":[1,\(dModel)],"data_offsets":[0,\(4 * dModel)]},
        "\(fc1).lora_B.weight":{"dtype":"F32","shape":[\(ffnDim),1],
        "data_offsets":[\(4 * dModel),\(4 * (dModel + ffnDim))]}}
        """
    var weights = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) } + Data(header.utf8)
    for _ in 0..<dModel + ffnDim { withUnsafeBytes(of: Float(1)) { weights.append(contentsOf: $0) } }
    let config = #"{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["fc1"]}"#
    return ["adapter_config.json": Data(config.utf8), "adapter_model.safetensors": weights]
}

/// True if a call fails with a status and with a message that contains `part`.
private func fails(_ status: Florence2Error.Status, _ part: String, _ call: () throws -> Void) -> Bool {
    do {
        try call()
    } catch let error as Florence2Error {
        if error.status == status, error.message.contains(part) { return true }
        Issue.record("found \(error.status.rawValue) `\(error.message)`")
    } catch {
        Issue.record(error)
    }
    return false
}

/// A value that any thread may change.
private final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var stored: Value

    init(_ value: Value) { stored = value }

    var value: Value { lock.withLock { stored } }

    func change(_ body: (inout Value) -> Void) { lock.withLock { body(&stored) } }
}

/// Tests of the binding with the demo model, whose answers for its scene are known.
struct Florence2Tests {
    let model: Florence2Model
    let image: Florence2Image

    init() throws {
        model = try Florence2Model.demo()
        image = try Florence2Image(contentsOf: scene)
    }

    private func long(_ beams: Int = 8) -> Options {
        var options = Options(numBeams: beams, maxNewTokens: 200)
        options.minNewTokens = 200
        return options
    }

    @Test func regionsAreRight() throws {
        let answer = try model.run(Florence2Request(image, task: "<OD>"))
        #expect(answer.regions.map(\.label) == ["white circle", "orange star", "purple square"])
        let circle = try #require(answer.regions.first)
        guard case .box(let box) = circle.shape else {
            Issue.record("found \(circle.shape), expected a box")
            return
        }
        #expect(abs(box.x1 - 31.392) < 1e-3 && box == circle.boundingBox)
        #expect(try #require(circle.score?.label) > 0.9)
        #expect(answer.width == 192 && answer.height == 192 && answer.finishReason == .endOfText)
        #expect(answer.task == "<OD>" && answer.input == nil && answer.rawText.hasSuffix("</s>"))
        #expect(answer.timings.vision > .zero && answer.timings.generate > .zero)
        guard case .array(let labels)? = answer.hf["<OD>"]?["labels"] else {
            Issue.record("found \(answer.hf)")
            return
        }
        #expect(labels == answer.regions.map { .string($0.label) })
    }

    @Test func coordinatesAndTheToleranceOfScores() throws {
        let request = Florence2Request(image, task: .objectDetection)
        var options = Options()
        options.coordinates = .hfIntegers
        let whole = try model.run(request, options: options)
        #expect(whole.regions.allSatisfy { $0.shape.points.allSatisfy { $0.x == $0.x.rounded() } })
        func locations(_ tolerance: Int?) throws -> [Float] {
            options.locationTolerance = tolerance
            return try model.run(request, options: options).regions.compactMap { $0.score?.locations }
        }
        #expect(try locations(nil) == locations(50))
        let (exact, wide) = try (locations(0), locations(1000))
        #expect(exact.count == 3 && zip(exact, wide).allSatisfy { $0 < $1 })
        #expect(fails(.invalidArgument, "locationTolerance") { _ = try locations(-1) })
    }

    @Test func shapesHaveBoundingBoxes() throws {
        func point(_ x: Double, _ y: Double) -> Florence2Region.Point { .init(x: x, y: y) }
        let shapes: [(Florence2Region.Shape, Int)] = [
            (.box(.init(x1: 30, y1: 40, x2: 10, y2: 20)), 2),
            (.quad(point(10, 25), point(30, 20), point(28, 40), point(11, 35)), 4),
            (.polygon([point(10, 40), point(30, 20), point(12, 21)]), 3),
        ]
        for (shape, count) in shapes {
            #expect(shape.boundingBox == .init(x1: 10, y1: 20, x2: 30, y2: 40))
            #expect(shape.boundingBox.cgRect == CGRect(x: 10, y: 20, width: 20, height: 20))
            #expect(shape.points.count == count)
        }
        #expect(Florence2Region.Shape.polygon([]).boundingBox == .init(x1: 0, y1: 0, x2: 0, y2: 0))
        #expect(point(1, 2).cgPoint == CGPoint(x: 1, y: 2))
        let quad = Data(#"{"kind": "quad", "label": "", "points": [[1, 2]], "instance": 0}"#.utf8)
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(Florence2Region.self, from: quad) }
    }

    @Test func tasksAreThoseOfTheLibrary() throws {
        let tasks: Set<Florence2Task> = [
            .caption, .detailedCaption, .moreDetailedCaption, .objectDetection, .denseRegionCaption, .regionProposal,
            .captionToPhraseGrounding, .openVocabularyDetection, .referringExpressionSegmentation,
            .regionToSegmentation, .ocr, .ocrWithRegion, .regionToCategory, .regionToDescription, .regionToOCR,
        ]
        #expect(Set(Florence2Task.all) == tasks && Florence2Task.all.count == tasks.count)
        #expect(Florence2Task.regionToOCR.input == .region && Florence2Task.openVocabularyDetection.input == .text)
        #expect(Florence2Task.ocr.input == .nothing && Florence2Task("<NOTHING>").input == nil)
        #expect(Florence2Task.ocrWithRegion.postProcessingType == .ocr)
        #expect(Florence2Task.regionProposal.postProcessingType == .bboxes)
        #expect(Florence2Task("<NOTHING>").postProcessingType == nil)
        #expect(tasks.allSatisfy { $0.input != nil && $0.postProcessingType != nil })
        let named = try model.run(Florence2Request(image, task: "od"))
        #expect(try named.tokenIDs == model.run(Florence2Request(image, task: .objectDetection)).tokenIDs)
    }

    @Test func everyKindOfImage() throws {
        let expected = try model.run(Florence2Request(image, task: "<OD>")).tokenIDs
        let encoded = try Florence2Image(encoded: Data(contentsOf: scene))
        #expect(try model.run(Florence2Request(encoded, task: "<OD>")).tokenIDs == expected)
        // Rows of 4 pixels in 14 bytes.
        let pixels = try Florence2Image(pixels: Data(count: 3 * 14), width: 4, height: 3, format: .bgr, stride: 14)
        #expect(pixels.width == 4 && pixels.height == 3)
        #expect(throws: Florence2Error.self) {
            try Florence2Image(pixels: Data(count: 3), width: 4, height: 3, format: .gray)
        }
        #expect(throws: Florence2Error.self) { try Florence2Image(pixels: Data(), width: -1, height: 3, format: .gray) }
    }

    @Test func imagesHaveALimitOfPixels() throws {
        let encoded = try Data(contentsOf: scene)
        let pixels = image.width * image.height
        #expect(try Florence2Image(contentsOf: scene, maxPixels: pixels).width == image.width)
        #expect(try Florence2Image(encoded: encoded, maxPixels: pixels).width == image.width)
        let limit = "\(pixels - 1)"
        #expect(fails(.invalidImage, limit) { _ = try Florence2Image(contentsOf: scene, maxPixels: pixels - 1) })
        #expect(fails(.invalidImage, limit) { _ = try Florence2Image(encoded: encoded, maxPixels: pixels - 1) })
        #expect(fails(.invalidArgument, "maxPixels") { _ = try Florence2Image(contentsOf: scene, maxPixels: -1) })
    }

    /// The tokens' log-probabilities, which differ for images that differ slightly.
    private func answer(_ image: Florence2Image) throws -> [Float] {
        let answer = try model.run(Florence2Request(image, task: "<OD>"))
        #expect(answer.tokenIDs.count > 2)
        return answer.tokenLogProbs
    }

    @Test func aRegionOfPixelsIsTheCutImage() throws {
        let (width, height, stride) = (64, 48, 64 * 3 + 5)
        let region = Florence2Image.Region(x: 7, y: 5, width: 40, height: 30)
        var pixels = Data()
        for row in 0..<height {
            for column in 0..<width { pixels.append(contentsOf: [UInt8(column * 4), UInt8(row * 5), 90]) }
            pixels.append(contentsOf: [1, 2, 3, 4, 5])
        }
        var cut = Data()
        for row in region.y..<region.y + region.height {
            let start = row * stride + region.x * 3
            cut += pixels[start..<start + region.width * 3]
        }
        let found = try Florence2Image(
            pixels: pixels, width: width, height: height, format: .rgb, stride: stride, region: region)
        #expect(found.width == 40 && found.height == 30)
        let expected = try Florence2Image(pixels: cut, width: 40, height: 30, format: .rgb)
        let whole = try Florence2Image(pixels: pixels, width: width, height: height, format: .rgb, stride: stride)
        #expect(try answer(found) == answer(expected))
        #expect(try answer(found) != answer(whole))

        let refused: [(String, Florence2Image.Region)] = [
            ("region", .init(x: 30, y: 0, width: 40, height: 30)),
            ("region.x", .init(x: -1, y: 0, width: 40, height: 30)),
            ("region.width", .init(x: 0, y: 0, width: 0, height: 0)),
            ("region.height", .init(x: 0, y: 0, width: 1, height: 0)),
        ]
        for (part, region) in refused {
            #expect(
                fails(.invalidArgument, part) {
                    _ = try Florence2Image(
                        pixels: pixels, width: width, height: height, format: .rgb, stride: stride, region: region)
                })
        }
    }

    @Test func grayFramesAreGrayPixels() throws {
        // An odd size: 33x27 pixels have 17x14 chroma samples.
        let (width, height, lumaStride, chromaStride) = (33, 27, 40, 20)
        var (luma, gray) = (Data(), Data())
        for row in 0..<height {
            let samples = (0..<width).map { UInt8(truncatingIfNeeded: $0 * 7 + row * 3) }
            gray.append(contentsOf: samples)
            luma.append(contentsOf: samples + [UInt8](repeating: 90, count: lumaStride - width))
        }
        let y = Florence2Image.Plane(luma, stride: lumaStride)
        let chroma = Florence2Image.Plane(Data(repeating: 128, count: 14 * chromaStride), stride: chromaStride)
        let nv12 = Florence2Image.YUV.nv12(y: y, uv: .init(Data(repeating: 128, count: 14 * 34)))
        let i420 = Florence2Image.YUV.i420(y: y, u: chroma, v: chroma)
        let region = Florence2Image.Region(x: 3, y: 1, width: 20, height: 25)
        for region in [nil, region] {
            let pixels = try Florence2Image(pixels: gray, width: width, height: height, format: .gray, region: region)
            let expected = try answer(pixels)
            for yuv in [nv12, i420] {
                for matrix in [Florence2Image.YUVMatrix.bt601, .bt709] {
                    let frame = try Florence2Image(
                        yuv: yuv, width: width, height: height, matrix: matrix, range: .full, region: region)
                    #expect(frame.width == pixels.width && frame.height == pixels.height)
                    #expect(try answer(frame) == expected)
                }
                let limited = try Florence2Image(yuv: yuv, width: width, height: height, region: region)
                #expect(try answer(limited) != expected)
            }
        }
    }

    @Test func chromaHasItsPlanesAndMatrix() throws {
        func plane(_ samples: [UInt8]) -> Florence2Image.Plane { .init(Data(samples)) }
        // 8x8 pixels of one colour, blue by their chroma.
        let y = plane(.init(repeating: 81, count: 64))
        let u = plane(.init(repeating: 200, count: 16))
        let v = plane(.init(repeating: 100, count: 16))
        let uv = plane((0..<32).map { $0 % 2 == 0 ? 200 : 100 })
        func answer(_ yuv: Florence2Image.YUV, _ matrix: Florence2Image.YUVMatrix = .bt601) throws -> [Float] {
            try self.answer(Florence2Image(yuv: yuv, width: 8, height: 8, matrix: matrix))
        }
        let expected = try answer(.i420(y: y, u: u, v: v))
        #expect(try answer(.nv12(y: y, uv: uv)) == expected)
        #expect(try answer(.i420(y: y, u: v, v: u)) != expected)
        #expect(try answer(.nv12(y: y, uv: uv), .bt709) != expected)

        let short = plane(.init(repeating: 100, count: 15))
        #expect(fails(.invalidArgument, "`v`") { _ = try answer(.i420(y: y, u: u, v: short)) })
        var negative = uv
        negative.stride = -1
        #expect(fails(.invalidArgument, "uv.stride") { _ = try answer(.nv12(y: y, uv: negative)) })
        #expect(
            fails(.invalidArgument, "region") {
                _ = try Florence2Image(
                    yuv: .nv12(y: y, uv: uv), width: 8, height: 8, region: .init(x: 1, y: 0, width: 8, height: 8))
            })
    }

    @Test func batchesFeaturesAndOptions() throws {
        let features = try model.encodeImage(image)
        let requests = [
            Florence2Request(features, task: "<CAPTION>"),
            Florence2Request(
                image, task: .regionToCategory, input: .region(.pixels(x1: 30, y1: 30, x2: 104, y2: 104))),
            Florence2Request(image, task: "<CAPTION_TO_PHRASE_GROUNDING>", input: "ein weißer Kreis 🟠"),
        ]
        let together = try model.runBatch(requests)
        for (request, outcome) in zip(requests, together) {
            #expect(try model.run(request).tokenIDs == outcome.get().tokenIDs)
        }
        let text = "a circle"
        let inputs: [(Florence2Task, Florence2Request.Input)] = [
            (.captionToPhraseGrounding, .text(text)), (.captionToPhraseGrounding, "\(text)"),
            (.regionToCategory, .region(.normalized(x1: 0.1, y1: 0.1, x2: 0.5, y2: 0.5))),
        ]
        for (task, input) in inputs {
            #expect(try model.run(Florence2Request(features, task: task, input: input)).input != nil)
        }
        let prompt = Florence2Request(features, prompt: "<CAPTION_TO_PHRASE_GROUNDING>a circle")
        let task = Florence2Request(image, task: .captionToPhraseGrounding, input: "a circle")
        #expect(try model.run(prompt).tokenIDs == model.run(task).tokenIDs)
        var options = Options(numBeams: 3)
        options.numReturnSequences = 3
        #expect(try model.run(requests[0], options: options).alternatives.count == 2)
        #expect(try model.runBatch([]).isEmpty)
    }

    @Test func optionsAreKeysOfTheLibrary() throws {
        let request = Florence2Request(image, task: "<CAPTION>")
        let plain = try model.run(request).tokenIDs
        func same(_ options: Options, _ json: String) throws {
            var byName = Options()
            byName.generationConfig = json
            let found = try model.run(request, options: options)
            #expect(found.tokenIDs != plain)
            #expect(try model.run(request, options: byName).tokenIDs == found.tokenIDs)
        }
        var options = Options(maxNewTokens: 30)
        options.eosTokenID = []
        options.earlyStopping = .never
        try same(options, #"{"max_new_tokens": 30, "eos_token_id": [], "early_stopping": "never"}"#)
        options = Options()
        options.stopStrings = ["white"]
        try same(options, #"{"stop_strings": ["white"]}"#)
        options = Options()
        options.sequenceBias = [.init(tokenIDs: [373], bias: -20)]
        options.exponentialDecayLengthPenalty = .init(start: 9, factor: 1.5)
        let json = #"{"sequence_bias": [[[373], -20]], "exponential_decay_length_penalty": [9, 1.5]}"#
        try same(options, json)
    }

    private func requests() -> [Florence2Request] {
        [
            Florence2Request(image, task: .objectDetection), Florence2Request(image, task: "<NOTHING>"),
            Florence2Request(image, prompt: String(repeating: " a", count: 4096)),
            Florence2Request(image, task: .caption),
        ]
    }

    @Test func aRequestThatFailsLeavesTheOthersTheirAnswers() throws {
        let parts = [nil, "<NOTHING>", "positions", nil]
        let options = Options(numBeams: 1)
        var tokens = [0, 0, 0, 0]
        let outcomes = try model.runBatch(requests(), options: options, onToken: { tokens[$0.request] += 1 })
        #expect(outcomes.count == parts.count)
        for (index, outcome) in outcomes.enumerated() {
            if let part = parts[index] {
                #expect(fails(.invalidArgument, part) { _ = try outcome.get() })
                #expect(tokens[index] == 0)
            } else {
                let alone = try model.run(requests()[index], options: options)
                #expect(try outcome.get().tokenLogProbs == alone.tokenLogProbs)
                #expect(tokens[index] == alone.tokenIDs.count - 1)
            }
        }
        // An invalid option is an error of the call.
        #expect(
            fails(.invalidArgument, "`-1`") { _ = try model.runBatch(requests(), options: Options(numBeams: -1)) })
    }

    @Test func batchesRunOnAnotherThread() async throws {
        let options = Options(numBeams: 1)
        let expected = try await model.run(requests()[0], options: options).tokenIDs
        let (tokens, sent) = AsyncStream.makeStream(of: Int.self)
        let outcomes = try await model.runBatch(requests(), options: options, onToken: { sent.yield($0.request) })
        sent.finish()
        #expect(try outcomes[0].get().tokenIDs == expected && outcomes.count == 4)
        #expect(await tokens.reduce(into: Set<Int>()) { $0.insert($1) } == [0, 3])
        #expect(try await model.runBatch([]).isEmpty)
        let task = Task { while true { _ = try await model.runBatch(requests(), options: long()) } }
        try await Task.sleep(for: .milliseconds(30))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func answersAreCodable() throws {
        let answer = try model.run(Florence2Request(image, task: "<OCR_WITH_REGION>"))
        guard case .quad? = answer.regions.first?.shape else {
            Issue.record("found \(answer.regions), expected quads")
            return
        }
        #expect(try JSONDecoder().decode(Florence2Answer.self, from: JSONEncoder().encode(answer)) == answer)
    }

    @Test func scoresAddUp() async throws {
        func add() throws -> Florence2TargetScore {
            try model.score(Florence2Request(image, task: .caption), target: "a white circle", timeout: .seconds(600))
        }
        let score = try add()
        let mean = score.tokens.map(\.logProb).reduce(0, +) / Float(score.tokens.count)
        #expect(abs(score.loss + mean) < 1e-4)
        let elsewhere = try await model.score(Florence2Request(image, task: .caption), target: "a white circle")
        #expect(elsewhere == score)
    }

    @Test func tokensAreStreamed() throws {
        let request = Florence2Request(image, task: .caption)
        var received = ""
        var progress: [Florence2Model.RunProgress] = []
        let answer = try model.run(
            request, options: Options(numBeams: 1), onToken: { received += $0.text },
            onProgress: { progress.append($0) })
        #expect(received.contains(answer.text) && !answer.text.isEmpty)
        #expect(progress.count > 2 && zip(progress, progress.dropFirst()).allSatisfy { $0.newTokens < $1.newTokens })
        #expect(progress.allSatisfy { $0.maxNewTokens >= answer.tokenIDs.count - 1 })
        struct Mine: Error {}
        #expect(throws: Mine.self) { try model.run(request, options: Options(numBeams: 1)) { _ in throw Mine() } }
        #expect(throws: Mine.self) { try model.run(request, onProgress: { _ in throw Mine() }) }
    }

    @Test func tokensAreASequence() async throws {
        let request = Florence2Request(image, task: .caption)
        let (tokens, sent) = AsyncStream.makeStream(of: Florence2Token.self)
        _ = try await model.run(request, options: Options(numBeams: 1), onToken: { sent.yield($0) })
        sent.finish()
        let received = await tokens.reduce(into: []) { $0.append($1) }
        var streamed: [Florence2Token] = []
        for try await token in model.tokens(request) { streamed.append(token) }
        #expect(streamed == received && streamed.count > 2)
        // The end of the loop ends the run.
        for try await _ in model.tokens(request, options: long(1)) { break }
    }

    @Test func tasksAreCancelled() async throws {
        let request = Florence2Request(image, task: .caption)
        let expected = try await model.run(request).tokenIDs
        #expect(try await model.run(request).tokenIDs == expected)
        let options = long()
        // The loop guarantees that a call is active when the sleep ends.
        let loops: [@Sendable () async throws -> Void] = [
            { while true { _ = try await model.run(request, options: options) } },
            { while true { _ = try await model.encodeImage(image) } },
            { while true { _ = try await model.score(request, target: "a white circle") } },
        ]
        for loop in loops {
            let task = Task { try await loop() }
            try await Task.sleep(for: .milliseconds(30))
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }

    @Test func callsHaveATimeout() async throws {
        let request = Florence2Request(image, task: .caption)
        var late = long()
        late.timeout = .milliseconds(5)
        func expired() throws {
            #expect(fails(.deadlineExceeded, "deadline") { _ = try model.run(request, options: late) })
            for timeout in [Duration.zero, .seconds(-1), .nanoseconds(1)] {
                #expect(fails(.deadlineExceeded, "deadline") { _ = try model.encodeImage(image, timeout: timeout) })
                #expect(
                    fails(.deadlineExceeded, "deadline") {
                        _ = try model.score(request, target: "a", timeout: timeout)
                    })
            }
        }
        try expired()
        await #expect(throws: Florence2Error.self) { try await model.run(request, options: late) }
        await #expect(throws: Florence2Error.self) { try await model.encodeImage(image, timeout: .zero) }
        await #expect(throws: Florence2Error.self) { try await model.score(request, target: "a", timeout: .zero) }
        // A timeout that C cannot represent in milliseconds is no limit.
        let features = try await model.encodeImage(image, timeout: .seconds(Int64.max))
        #expect(try await !model.run(Florence2Request(features, task: .caption)).text.isEmpty)
    }

    @Test func systemAndWarnings() {
        #expect(Florence2Library.systemInfo.contains("\"version\":\"\(Florence2Library.version)\""))
        #expect(model.warnings == [])
        Florence2Library.trim()
        #expect(model.device == "cpu" && model.info.contains("\"vocab_size\":"))
        #expect(Florence2Error.Status.io.name == "FLORENCE2_STATUS_IO")
        #expect(Florence2Error.Status(rawValue: 99).name == nil)
        #expect(throws: Florence2Error.self) { try Florence2Library.setSIMDLevel("abacus") }
    }

    @Test func tokensHaveIDs() throws {
        #expect(try model.tokenID("</s>") == 2)
        #expect(fails(.invalidArgument, "abacus") { _ = try model.tokenID("<abacus>") })
    }

    @Test func theLogHasAHandler() throws {
        let (messages, sent) = (Locked<[Florence2Library.LogMessage]>([]), "/nowhere/log")
        try Florence2Library.setLogHandler(maxLevel: .debug) { message in messages.change { $0.append(message) } }
        _ = try? Florence2Model(contentsOf: URL(filePath: sent))
        try Florence2Library.removeLogHandler()
        let count = messages.value.count
        _ = try? Florence2Model(contentsOf: URL(filePath: sent))
        #expect(messages.value.contains { $0.message.contains(sent) && $0.level <= .debug && !$0.target.isEmpty })
        #expect(messages.value.count == count)
    }

    @Test func refusals() throws {
        let refused: [(Florence2Error.Status, () throws -> Void)] = [
            (.io, { _ = try Florence2Image(contentsOf: nowhere) }),
            (.invalidImage, { _ = try Florence2Image(encoded: Data("no image".utf8)) }),
            (.invalidImage, { _ = try Florence2Image(encoded: Data()) }),
            (.unsupportedDevice, { _ = try Florence2Model.demo(options: .init(device: "abacus")) }),
            (.invalidArgument, { _ = try Florence2Model.demo(options: .init(dtype: "f99")) }),
            (.io, { _ = try Florence2Model(contentsOf: nowhere) }),
            (.invalidArgument, { _ = try Florence2Model(contentsOf: URL(string: "https://example.com/model")!) }),
            (.invalidArgument, { _ = try model.run(Florence2Request(image, task: "<NOTHING>")) }),
            (.invalidArgument, { _ = try model.run(Florence2Request(image, task: "<O\0D>")) }),
            (.invalidArgument, { _ = try model.run(.init(image, task: .ocr), options: Options(numBeams: -1)) }),
        ]
        for (status, call) in refused {
            #expect { try call() } throws: {
                let error = $0 as? Florence2Error
                return error?.status == status && !(error?.message.isEmpty ?? true)
            }
        }
    }

    @Test func theFirstErrorOfACallbackIsTheErrorOfTheRun() throws {
        struct Numbered: Error, Equatable { let number: Int }
        var calls = 0
        let requests = [Florence2Request(image, task: .caption), Florence2Request(image, task: .objectDetection)]
        #expect(throws: Numbered(number: 1)) {
            try model.runBatch(requests, options: Options(numBeams: 1)) { _ in
                calls += 1
                throw Numbered(number: calls)
            }
        }
    }

    @Test func aStatusOfALaterLibraryHasItsNumber() {
        #expect(throws: Florence2Error(status: .init(rawValue: 99), message: "florence2 status 99")) {
            try check { _ in 99 }
        }
    }

    @Test func filesInMemoryAnswerAsTheFolder() async throws {
        let request = Florence2Request(image, task: "<OD>")
        let expected = try await model.run(request)
        let files = try demoFiles()
        #expect(try await Florence2Model(files: files).run(request).tokenLogProbs == expected.tokenLogProbs)
        #expect(try await Florence2Model.load(.files(files)).run(request).tokenLogProbs == expected.tokenLogProbs)
        for name in files.keys where name != "generation_config.json" {
            var fewer = files
            fewer[name] = nil
            #expect(fails(.io, name) { _ = try Florence2Model(files: fewer) })
        }
        #expect(fails(.io, "config.json") { _ = try Florence2Model(files: [:]) })
        let unknown = files.merging(["confg.json": Data()]) { $1 }
        #expect(fails(.invalidArgument, "confg.json") { _ = try Florence2Model(files: unknown) })
        let nul = files.merging(["a\0b": Data()]) { $1 }
        #expect(fails(.invalidArgument, "files") { _ = try Florence2Model(files: nul) })
    }

    @Test func weightsAndProcessorOfOtherFolders() throws {
        let parts = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: parts, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: parts) }
        for (name, data) in try demoFiles(["config.json", "generation_config.json"]) {
            try data.write(to: parts.appending(path: name))
        }
        var options = Florence2Model.LoadOptions()
        options.processor = folder
        #expect(fails(.io, parts.lastPathComponent) { _ = try Florence2Model(contentsOf: parts, options: options) })
        options.weights = folder.appending(path: "model.safetensors")
        let request = Florence2Request(image, task: "<OD>")
        let found = try Florence2Model(contentsOf: parts, options: options).run(request)
        #expect(try found.tokenLogProbs == model.run(request).tokenLogProbs)
        options.processor = nowhere
        #expect(fails(.io, "/nowhere") { _ = try Florence2Model(contentsOf: parts, options: options) })
        options.weights = nil
        #expect(fails(.invalidArgument, "processor") { _ = try Florence2Model(files: demoFiles(), options: options) })
    }

    @Test func adaptersHaveAScale() throws {
        let request = Florence2Request(image, task: "<OD>")
        let expected = try model.run(request).tokenLogProbs
        var options = Florence2Model.LoadOptions()
        let adapter = Florence2Model.Adapter(files: adapterFiles())
        options.adapters = [adapter]
        #expect(try Florence2Model.demo(options: options).run(request).tokenLogProbs != expected)
        // The second adapter subtracts the updates of the first.
        options.adapters = [adapter, Florence2Model.Adapter(files: adapterFiles(), scale: -1)]
        #expect(try Florence2Model.demo(options: options).run(request).tokenIDs == model.run(request).tokenIDs)

        let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: path, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: path) }
        for (name, data) in adapterFiles() { try data.write(to: path.appending(path: name)) }
        options.adapters = [Florence2Model.Adapter(contentsOf: path, scale: 2)]
        let twice = try Florence2Model.demo(options: options).run(request).tokenLogProbs
        options.adapters = [adapter, adapter]
        #expect(try Florence2Model.demo(options: options).run(request).tokenLogProbs == twice)

        options.adapters = [.init(contentsOf: nowhere)]
        #expect(fails(.io, "/nowhere") { _ = try Florence2Model.demo(options: options) })
        options.adapters = [adapter, Florence2Model.Adapter(files: [:])]
        #expect(fails(.invalidArgument, "adapters[1]") { _ = try Florence2Model.demo(options: options) })
        options.adapters = [adapter, Florence2Model.Adapter(files: adapterFiles(), scale: 0)]
        #expect(fails(.invalidArgument, "adapters[1].scale") { _ = try Florence2Model.demo(options: options) })
    }

    @Test func loadingReportsItsProgress() throws {
        var options = Florence2Model.LoadOptions()
        options.spinLimit = -1
        var reports: [Florence2Model.LoadProgress] = []
        let loaded = try Florence2Model.demo(options: options) { reports.append($0) }
        let (first, last) = try (#require(reports.first), #require(reports.last))
        #expect(first.tensors == 0 && first.parameters == 0 && reports.count > 10)
        #expect(last.tensors == last.totalTensors && last.parameters == last.totalParameters)
        #expect(zip(reports, reports.dropFirst()).allSatisfy { $0.tensors < $1.tensors })
        #expect(zip(reports, reports.dropFirst()).allSatisfy { $0.parameters < $1.parameters })
        let request = Florence2Request(image, task: "<OD>")
        #expect(try loaded.run(request).tokenIDs == model.run(request).tokenIDs)
        options.spinLimit = -2
        #expect(fails(.invalidArgument, "spinLimit") { _ = try Florence2Model.demo(options: options) })
    }

    @Test func anErrorOfTheProgressCallbackEndsTheLoading() async throws {
        struct Stop: Error, Equatable { let tensors: Int }
        var calls = 0
        #expect(throws: Stop(tensors: 2)) {
            try Florence2Model(contentsOf: folder) {
                calls += 1
                if $0.tensors == 2 { throw Stop(tensors: 2) }
            }
        }
        #expect(calls == 3)
        // An error at the last report also ends the loading.
        #expect(throws: Stop(tensors: -1)) {
            try Florence2Model.demo { if $0.tensors == $0.totalTensors { throw Stop(tensors: -1) } }
        }
        await #expect(throws: Stop(tensors: 0)) {
            try await Florence2Model.load(.demo) { throw Stop(tensors: $0.tensors) }
        }
    }

    @Test func loadingIsCancelled() async throws {
        let (begun, progress) = AsyncStream.makeStream(of: Int.self)
        let released = DispatchSemaphore(value: 0)
        let task = Task {
            try await Florence2Model.load(.folder(folder)) {
                progress.yield($0.tensors)
                if $0.tensors == 1 { released.wait() }
            }
        }
        for await tensors in begun where tensors == 1 { break }
        task.cancel()
        released.signal()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func manyThreadsShareAFolderModel() async throws {
        let model = try Florence2Model(contentsOf: folder, options: .init(threads: 2))
        let request = Florence2Request(image, task: "<OD>")
        let expected = try await model.run(request).tokenIDs
        let answers = try await withThrowingTaskGroup(of: [UInt32].self) { group in
            for _ in 0..<16 { group.addTask { try await model.run(request).tokenIDs } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers == Array(repeating: expected, count: 16))
    }

    @Test func libraryHasDevicesAndAVersion() {
        #expect(Florence2Library.devices.first == "cpu" && !Florence2Library.version.isEmpty)
    }
}
