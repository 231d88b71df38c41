import CFlorence2

/// An image with a task or a prompt.
public struct Florence2Request: Sendable {
    /// The input image.
    public enum ImageInput: Sendable {
        /// An image that the run encodes.
        case image(Florence2Image)
        /// An image that the same model has encoded.
        case features(Florence2ImageFeatures)
    }

    /// The text that the model receives.
    public enum Prompt: Sendable {
        /// A task, with its input if it needs one.
        case task(Florence2Task, Input?)
        /// A prompt as Hugging Face's processor reads it: the token of a task followed by its input, or free text for
        /// fine-tuned models.
        case text(String)
    }

    /// The input of a task. A string literal is a text.
    public enum Input: Sendable, Equatable, ExpressibleByStringInterpolation {
        /// A phrase, or a region as four location tokens.
        case text(String)
        /// A box in the image.
        case region(Region)

        /// A text.
        public init(stringLiteral text: String) { self = .text(text) }
    }

    /// A box in the image, with `x1 <= x2` and `y1 <= y2`. The part outside of the image is ignored.
    public enum Region: Sendable, Equatable {
        /// Corners in pixels of the image, from its upper left corner.
        case pixels(x1: Double, y1: Double, x2: Double, y2: Double)
        /// Corners as fractions of the image's width and height, 0 to 1.
        case normalized(x1: Double, y1: Double, x2: Double, y2: Double)
    }

    /// The input image.
    public var image: ImageInput
    /// The task or the prompt.
    public var prompt: Prompt

    /// A task for an image, with the text or the region that the task needs.
    public init(_ image: Florence2Image, task: Florence2Task, input: Input? = nil) {
        self.init(.image(image), .task(task, input))
    }

    /// A task for an encoded image, with the text or the region that the task needs.
    public init(_ features: Florence2ImageFeatures, task: Florence2Task, input: Input? = nil) {
        self.init(.features(features), .task(task, input))
    }

    /// A prompt for an image.
    public init(_ image: Florence2Image, prompt: String) {
        self.init(.image(image), .text(prompt))
    }

    /// A prompt for an encoded image.
    public init(_ features: Florence2ImageFeatures, prompt: String) {
        self.init(.features(features), .text(prompt))
    }

    /// A request by its image and its prompt.
    public init(_ image: ImageInput, _ prompt: Prompt) {
        self.image = image
        self.prompt = prompt
    }

    /// The request as C reads it, while `arguments` and the request live.
    func native(_ arguments: CArguments) throws(Florence2Error) -> florence2_request {
        var native = florence2_request()
        florence2_request_init(&native, MemoryLayout<florence2_request>.size)
        switch image {
        case .image(let image): native.image = image.handle.pointer
        case .features(let features): native.image_features = features.handle.pointer
        }
        switch prompt {
        case .text(let prompt): native.prompt = try arguments.string(prompt, "prompt")
        case .task(let task, let input):
            native.task = try arguments.string(task.rawValue, "task")
            try input?.set(&native, arguments)
        }
        return native
    }
}

extension Florence2Request.Input {
    fileprivate func set(_ native: inout florence2_request, _ arguments: CArguments) throws(Florence2Error) {
        switch self {
        case .text(let text): native.input = try arguments.string(text, "input")
        case .region(.pixels(let x1, let y1, let x2, let y2)):
            native.region = (x1, y1, x2, y2)
            native.region_unit = Int32(FLORENCE2_REGION_UNIT_PX.rawValue)
        case .region(.normalized(let x1, let y1, let x2, let y2)):
            native.region = (x1, y1, x2, y2)
            native.region_unit = Int32(FLORENCE2_REGION_UNIT_NORMALIZED.rawValue)
        }
    }
}
