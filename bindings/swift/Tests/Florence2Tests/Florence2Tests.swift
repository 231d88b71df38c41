import Foundation
import Testing

@testable import Florence2

private let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().appendingPathComponent("../../../../assets/demo-model").standardizedFileURL.path
private let scene = folder + "/scenes/scene-1.png"

/// The contents of the demo model's files, by their names.
private func demoFiles(
    _ names: [String] = [
        "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors",
    ]
) throws -> [String: Data] {
    try names.reduce(into: [:]) { $0[$1] = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($1)")) }
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

/// Tests of the binding with the demo model, whose answers for its scene are known.
struct Florence2Tests {
    let model: Model
    let image: Image

    init() throws {
        model = try Model.demo()
        image = try Image(contentsOf: scene)
    }

    private func long(_ beams: Int = 8) -> RunOptions {
        var options = RunOptions(numBeams: beams, maxNewTokens: 200)
        options.minNewTokens = 200
        return options
    }

    @Test func regionsAreRight() throws {
        let answer = try model.run(Request(image, task: "<OD>"))
        #expect(answer.regions.map(\.label) == ["white circle", "orange star", "purple square"])
        let circle = try #require(answer.regions.first)
        #expect(circle.kind == .box && abs(circle.points[0].x - 31.392) < 1e-3)
        #expect(try #require(circle.score?.label) > 0.9)
        #expect(answer.width == 192 && answer.height == 192 && answer.finishReason == "end_of_text")
        var options = RunOptions()
        options.hfCompat = true
        let whole = try model.run(Request(image, task: "<OD>"), options: options)
        #expect(whole.regions.allSatisfy { $0.points.allSatisfy { $0.x == $0.x.rounded() } })
    }

    @Test func everyKindOfImage() throws {
        let expected = try model.run(Request(image, task: "<OD>")).tokenIDs
        let encoded = try Image(encoded: Data(contentsOf: URL(fileURLWithPath: scene)))
        #expect(try model.run(Request(encoded, task: "<OD>")).tokenIDs == expected)
        // Rows of 4 pixels in 14 bytes.
        let pixels = try Image(pixels: Data(count: 3 * 14), width: 4, height: 3, format: .bgr, stride: 14)
        #expect(pixels.width == 4 && pixels.height == 3)
        #expect(throws: Florence2Error.self) { try Image(pixels: Data(count: 3), width: 4, height: 3, format: .gray) }
        #expect(throws: Florence2Error.self) { try Image(pixels: Data(), width: -1, height: 3, format: .gray) }
    }

    @Test func imagesHaveALimitOfPixels() throws {
        let encoded = try Data(contentsOf: URL(fileURLWithPath: scene))
        let pixels = image.width * image.height
        #expect(try Image(contentsOf: scene, maxPixels: pixels).width == image.width)
        #expect(try Image(encoded: encoded, maxPixels: pixels).width == image.width)
        let limit = "\(pixels - 1)"
        #expect(fails(.invalidImage, limit) { _ = try Image(contentsOf: scene, maxPixels: pixels - 1) })
        #expect(fails(.invalidImage, limit) { _ = try Image(encoded: encoded, maxPixels: pixels - 1) })
        #expect(fails(.invalidArgument, "maxPixels") { _ = try Image(contentsOf: scene, maxPixels: -1) })
    }

    /// The tokens' log-probabilities, which differ for images that differ slightly.
    private func answer(_ image: Image) throws -> [Float] {
        let answer = try model.run(Request(image, task: "<OD>"))
        #expect(answer.tokenIDs.count > 2)
        return answer.tokenLogProbs
    }

    @Test func aRegionOfPixelsIsTheCutImage() throws {
        let (width, height, stride) = (64, 48, 64 * 3 + 5)
        let region = Image.Region(x: 7, y: 5, width: 40, height: 30)
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
        let found = try Image(
            pixels: pixels, width: width, height: height, format: .rgb, stride: stride, region: region)
        #expect(found.width == 40 && found.height == 30)
        let expected = try Image(pixels: cut, width: 40, height: 30, format: .rgb)
        let whole = try Image(pixels: pixels, width: width, height: height, format: .rgb, stride: stride)
        #expect(try answer(found) == answer(expected))
        #expect(try answer(found) != answer(whole))

        let refused: [(String, Image.Region)] = [
            ("region", .init(x: 30, y: 0, width: 40, height: 30)),
            ("region.x", .init(x: -1, y: 0, width: 40, height: 30)),
            ("region.width", .init(x: 0, y: 0, width: 0, height: 0)),
            ("region.height", .init(x: 0, y: 0, width: 1, height: 0)),
        ]
        for (part, region) in refused {
            #expect(
                fails(.invalidArgument, part) {
                    _ = try Image(
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
        let y = Image.Plane(luma, stride: lumaStride)
        let chroma = Image.Plane(Data(repeating: 128, count: 14 * chromaStride), stride: chromaStride)
        let nv12 = Image.YUV.nv12(y: y, uv: .init(Data(repeating: 128, count: 14 * 34)))
        let i420 = Image.YUV.i420(y: y, u: chroma, v: chroma)
        let region = Image.Region(x: 3, y: 1, width: 20, height: 25)
        for region in [nil, region] {
            let pixels = try Image(pixels: gray, width: width, height: height, format: .gray, region: region)
            let expected = try answer(pixels)
            for yuv in [nv12, i420] {
                for matrix in [Image.YUVMatrix.bt601, .bt709] {
                    let frame = try Image(
                        yuv: yuv, width: width, height: height, matrix: matrix, range: .full, region: region)
                    #expect(frame.width == pixels.width && frame.height == pixels.height)
                    #expect(try answer(frame) == expected)
                }
                let limited = try Image(yuv: yuv, width: width, height: height, region: region)
                #expect(try answer(limited) != expected)
            }
        }
    }

    @Test func chromaHasItsPlanesAndMatrix() throws {
        func plane(_ samples: [UInt8]) -> Image.Plane { .init(Data(samples)) }
        // 8x8 pixels of one colour, blue by their chroma.
        let y = plane(.init(repeating: 81, count: 64))
        let u = plane(.init(repeating: 200, count: 16))
        let v = plane(.init(repeating: 100, count: 16))
        let uv = plane((0..<32).map { $0 % 2 == 0 ? 200 : 100 })
        func answer(_ yuv: Image.YUV, _ matrix: Image.YUVMatrix = .bt601) throws -> [Float] {
            try self.answer(Image(yuv: yuv, width: 8, height: 8, matrix: matrix))
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
                _ = try Image(
                    yuv: .nv12(y: y, uv: uv), width: 8, height: 8, region: .init(x: 1, y: 0, width: 8, height: 8))
            })
    }

    @Test func batchesFeaturesAndOptions() throws {
        let features = try model.encode(image)
        let requests = [
            Request(features, task: "<CAPTION>"),
            Request(image, task: "<REGION_TO_CATEGORY>", region: .pixels(x1: 30, y1: 30, x2: 104, y2: 104)),
            Request(image, task: "<CAPTION_TO_PHRASE_GROUNDING>", input: "ein weißer Kreis 🟠"),
        ]
        let together = try model.run(requests)
        for (request, answer) in zip(requests, together) {
            #expect(try model.run(request).tokenIDs == answer.tokenIDs)
        }
        var options = RunOptions(numBeams: 3)
        options.numReturnSequences = 3
        #expect(try model.run(requests[0], options: options).alternatives?.count == 2)
        #expect(try model.run([]).isEmpty)
    }

    @Test func optionsAreKeysOfTheLibrary() throws {
        let request = Request(image, task: "<CAPTION>")
        let plain = try model.run(request).tokenIDs
        func same(_ options: RunOptions, _ json: String) throws {
            var byName = RunOptions()
            byName.generationConfig = json
            let found = try model.run(request, options: options)
            #expect(found.tokenIDs != plain)
            #expect(try model.run(request, options: byName).tokenIDs == found.tokenIDs)
        }
        var options = RunOptions(maxNewTokens: 30)
        options.eosTokenID = []
        options.earlyStopping = .never
        try same(options, #"{"max_new_tokens": 30, "eos_token_id": [], "early_stopping": "never"}"#)
        options = RunOptions()
        options.stopStrings = ["white"]
        try same(options, #"{"stop_strings": ["white"]}"#)
        options = RunOptions()
        options.sequenceBias = [SequenceBias(tokenIDs: [373], bias: -20)]
        options.exponentialDecayLengthPenalty = ExponentialDecay(start: 9, factor: 1.5)
        let json = #"{"sequence_bias": [[[373], -20]], "exponential_decay_length_penalty": [9, 1.5]}"#
        try same(options, json)
    }

    @Test func aRequestThatFailsLeavesTheOthersTheirAnswers() async throws {
        let requests = [
            Request(image, task: "<OD>"), Request(image, task: "<NOTHING>"),
            Request(image, prompt: String(repeating: " a", count: 4096)), Request(image, task: "<CAPTION>"),
        ]
        let parts = [nil, "<NOTHING>", "positions", nil]
        let options = RunOptions(numBeams: 1)
        var tokens = [0, 0, 0, 0]
        let outcomes = try model.runEach(requests, options: options) { tokens[$0.request] += 1 }
        #expect(outcomes.count == requests.count)
        for (index, outcome) in outcomes.enumerated() {
            if let part = parts[index] {
                #expect(fails(.invalidArgument, part) { _ = try outcome.get() })
                #expect(tokens[index] == 0)
            } else {
                let alone = try await model.run(requests[index], options: options)
                #expect(try outcome.get().tokenLogProbs == alone.tokenLogProbs)
                #expect(tokens[index] == alone.tokenIDs.count - 1)
            }
        }
        #expect(fails(.invalidArgument, "<NOTHING>") { _ = try model.run(requests, options: options) })
        let elsewhere = try await model.runEach(requests, options: options)
        #expect(elsewhere.map { (try? $0.get())?.tokenIDs } == outcomes.map { (try? $0.get())?.tokenIDs })
        #expect(try await model.runEach([]).isEmpty)
        // An invalid option is an error of the call.
        #expect(
            fails(.invalidArgument, "`-1`") {
                _ = try model.runEach(requests, options: RunOptions(numBeams: -1))
            })
        let task = Task { while true { _ = try await model.runEach(requests, options: long()) } }
        try await Task.sleep(for: .milliseconds(30))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func answersAreCodable() throws {
        let answer = try model.run(Request(image, task: "<OCR_WITH_REGION>"))
        #expect(try JSONDecoder().decode(Answer.self, from: JSONEncoder().encode(answer)) == answer)
    }

    @Test func scoresAddUp() throws {
        let score = try model.score(Request(image, task: "<CAPTION>"), target: "a white circle")
        let mean = score.tokens.map(\.logProb).reduce(0, +) / Float(score.tokens.count)
        #expect(abs(score.loss + mean) < 1e-4)
    }

    @Test func tokensAreStreamed() async throws {
        let request = Request(image, task: "<CAPTION>")
        var received = ""
        let answer = try model.run(request, options: RunOptions(numBeams: 1)) { received += $0.text }
        #expect(received.contains(answer.text) && !answer.text.isEmpty)
        struct Mine: Error {}
        #expect(throws: Mine.self) { try model.run(request, options: RunOptions(numBeams: 1)) { _ in throw Mine() } }
        var streamed = ""
        for try await token in model.tokens(request) { streamed += token.text }
        #expect(streamed == received)
        // The end of the loop ends the run.
        for try await _ in model.tokens(request, options: long(1)) { break }
    }

    @Test func tasksAreCancelled() async throws {
        let request = Request(image, task: "<CAPTION>")
        let expected = try await model.run(request).tokenIDs
        #expect(try await model.run(request).tokenIDs == expected)
        let options = long()
        // The loop guarantees that a run is active when the sleep ends.
        let task = Task { while true { _ = try await model.run(request, options: options) } }
        try await Task.sleep(for: .milliseconds(30))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        var late = long()
        late.deadlineMilliseconds = 5
        #expect { try model.run(request, options: late) } throws: {
            ($0 as? Florence2Error)?.status == .deadlineExceeded
        }
    }

    @Test func systemAndWarnings() {
        #expect(Library.systemInfo.contains("\"version\":\"\(Library.version)\""))
        #expect(model.warnings == [])
        Library.trim()
        #expect(throws: Florence2Error.self) { try Library.setSIMDLevel("abacus") }
    }

    @Test func refusals() throws {
        let refused: [(Florence2Error.Status, () throws -> Void)] = [
            (.io, { _ = try Image(contentsOf: "/nowhere.png") }),
            (.invalidImage, { _ = try Image(encoded: Data("no image".utf8)) }),
            (.invalidImage, { _ = try Image(encoded: Data()) }),
            (.unsupportedDevice, { _ = try Model.demo(options: .init(device: "abacus")) }),
            (.invalidArgument, { _ = try Model.demo(options: .init(dtype: "f99")) }),
            (.io, { _ = try Model(contentsOf: "/nowhere") }),
            (.invalidArgument, { _ = try model.run(Request(image, task: "<NOTHING>")) }),
            (.invalidArgument, { _ = try model.run(Request(image, task: "<O\0D>")) }),
            (.invalidArgument, { _ = try model.run(Request(image, task: "<OD>"), options: RunOptions(numBeams: -1)) }),
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
        let requests = [Request(image, task: "<CAPTION>"), Request(image, task: "<OD>")]
        #expect(throws: Numbered(number: 1)) {
            try model.run(requests, options: RunOptions(numBeams: 1)) { _ in
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
        let request = Request(image, task: "<OD>")
        let expected = try await model.run(request)
        let files = try demoFiles()
        #expect(try await Model(files: files).run(request).tokenLogProbs == expected.tokenLogProbs)
        #expect(try await Model.load(.files(files)).run(request).tokenLogProbs == expected.tokenLogProbs)
        for name in files.keys where name != "generation_config.json" {
            var fewer = files
            fewer[name] = nil
            #expect(fails(.io, name) { _ = try Model(files: fewer) })
        }
        #expect(fails(.io, "config.json") { _ = try Model(files: [:]) })
        let unknown = files.merging(["confg.json": Data()]) { $1 }
        #expect(fails(.invalidArgument, "confg.json") { _ = try Model(files: unknown) })
        let nul = files.merging(["a\0b": Data()]) { $1 }
        #expect(fails(.invalidArgument, "files") { _ = try Model(files: nul) })
    }

    @Test func weightsAndProcessorOfOtherFolders() throws {
        let parts = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
        try FileManager.default.createDirectory(atPath: parts, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: parts) }
        for (name, data) in try demoFiles(["config.json", "generation_config.json"]) {
            try data.write(to: URL(fileURLWithPath: "\(parts)/\(name)"))
        }
        var options = Model.LoadOptions()
        options.processor = folder
        #expect(fails(.io, parts) { _ = try Model(contentsOf: parts, options: options) })
        options.weights = "\(folder)/model.safetensors"
        let request = Request(image, task: "<OD>")
        let found = try Model(contentsOf: parts, options: options).run(request)
        #expect(try found.tokenLogProbs == model.run(request).tokenLogProbs)
        options.processor = "/nowhere"
        #expect(fails(.io, "/nowhere") { _ = try Model(contentsOf: parts, options: options) })
        options.weights = nil
        #expect(fails(.invalidArgument, "processor") { _ = try Model(files: demoFiles(), options: options) })
    }

    @Test func adaptersHaveAScale() throws {
        let request = Request(image, task: "<OD>")
        let expected = try model.run(request).tokenLogProbs
        var options = Model.LoadOptions()
        let adapter = Model.Adapter(files: adapterFiles())
        options.adapters = [adapter]
        #expect(try Model.demo(options: options).run(request).tokenLogProbs != expected)
        // The second adapter subtracts the updates of the first.
        options.adapters = [adapter, Model.Adapter(files: adapterFiles(), scale: -1)]
        #expect(try Model.demo(options: options).run(request).tokenIDs == model.run(request).tokenIDs)

        let path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: path) }
        for (name, data) in adapterFiles() { try data.write(to: URL(fileURLWithPath: "\(path)/\(name)")) }
        options.adapters = [Model.Adapter(contentsOf: path, scale: 2)]
        let twice = try Model.demo(options: options).run(request).tokenLogProbs
        options.adapters = [adapter, adapter]
        #expect(try Model.demo(options: options).run(request).tokenLogProbs == twice)

        options.adapters = ["/nowhere"]
        #expect(fails(.io, "/nowhere") { _ = try Model.demo(options: options) })
        options.adapters = [adapter, Model.Adapter(files: [:])]
        #expect(fails(.invalidArgument, "adapters[1]") { _ = try Model.demo(options: options) })
        options.adapters = [adapter, Model.Adapter(files: adapterFiles(), scale: 0)]
        #expect(fails(.invalidArgument, "adapters[1].scale") { _ = try Model.demo(options: options) })
    }

    @Test func loadingReportsItsProgress() throws {
        var options = Model.LoadOptions()
        options.spinLimit = -1
        var reports: [Model.LoadProgress] = []
        let loaded = try Model.demo(options: options) { reports.append($0) }
        let (first, last) = try (#require(reports.first), #require(reports.last))
        #expect(first.tensors == 0 && first.parameters == 0 && reports.count > 10)
        #expect(last.tensors == last.totalTensors && last.parameters == last.totalParameters)
        #expect(zip(reports, reports.dropFirst()).allSatisfy { $0.tensors < $1.tensors })
        #expect(zip(reports, reports.dropFirst()).allSatisfy { $0.parameters < $1.parameters })
        let request = Request(image, task: "<OD>")
        #expect(try loaded.run(request).tokenIDs == model.run(request).tokenIDs)
        options.spinLimit = -2
        #expect(fails(.invalidArgument, "spinLimit") { _ = try Model.demo(options: options) })
    }

    @Test func anErrorOfTheProgressCallbackEndsTheLoading() async throws {
        struct Stop: Error, Equatable { let tensors: Int }
        var calls = 0
        #expect(throws: Stop(tensors: 2)) {
            try Model(contentsOf: folder) {
                calls += 1
                if $0.tensors == 2 { throw Stop(tensors: 2) }
            }
        }
        #expect(calls == 3)
        // An error at the last report also ends the loading.
        #expect(throws: Stop(tensors: -1)) {
            try Model.demo { if $0.tensors == $0.totalTensors { throw Stop(tensors: -1) } }
        }
        await #expect(throws: Stop(tensors: 0)) { try await Model.load(.demo) { throw Stop(tensors: $0.tensors) } }
    }

    @Test func loadingIsCancelled() async throws {
        let (begun, progress) = AsyncStream.makeStream(of: Int.self)
        let released = DispatchSemaphore(value: 0)
        let task = Task {
            try await Model.load(.folder(folder)) {
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
        let model = try Model(contentsOf: folder, options: .init(threads: 2))
        let request = Request(image, task: "<OD>")
        let expected = try await model.run(request).tokenIDs
        let answers = try await withThrowingTaskGroup(of: [UInt32].self) { group in
            for _ in 0..<16 { group.addTask { try await model.run(request).tokenIDs } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers == Array(repeating: expected, count: 16))
    }

    @Test func libraryHasDevicesAndAVersion() {
        #expect(Library.devices.first == "cpu" && !Library.version.isEmpty)
    }
}
