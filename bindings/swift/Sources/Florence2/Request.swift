import CFlorence2

/// A task or a prompt for an image.
public struct Request: Sendable {
    /// The input image.
    public enum ImageInput: Sendable {
        /// An image that the run encodes.
        case image(Image)
        /// An image that the same model has encoded.
        case features(ImageFeatures)
    }

    /// A box in the image.
    public enum Region: Sendable {
        /// Corners in pixels of the image.
        case pixels(x1: Double, y1: Double, x2: Double, y2: Double)
        /// Corners as fractions of the image's size.
        case normalized(x1: Double, y1: Double, x2: Double, y2: Double)
    }

    /// The input image.
    public var subject: ImageInput
    /// A task's token, such as `<OD>`.
    public var task: String?
    /// Free text instead of a task, for fine-tuned models.
    public var prompt: String?
    /// The input text of a task that requires one.
    public var input: String?
    /// The input region of a task that requires one.
    public var region: Region?

    /// A request for an image: a task, with the text or the region that the task requires, or a free prompt.
    public init(
        _ image: Image, task: String? = nil, input: String? = nil, region: Region? = nil, prompt: String? = nil
    ) {
        self.init(.image(image), task: task, input: input, region: region, prompt: prompt)
    }

    /// A request for an encoded image.
    public init(
        _ features: ImageFeatures, task: String? = nil, input: String? = nil, region: Region? = nil,
        prompt: String? = nil
    ) {
        self.init(.features(features), task: task, input: input, region: region, prompt: prompt)
    }

    private init(_ subject: ImageInput, task: String?, input: String?, region: Region?, prompt: String?) {
        self.subject = subject
        self.task = task
        self.prompt = prompt
        self.input = input
        self.region = region
    }

    /// The request as C reads it, while `arguments` and the request live.
    func native(_ arguments: CArguments) throws(Florence2Error) -> florence2_request {
        var native = florence2_request()
        florence2_request_init(&native, MemoryLayout<florence2_request>.size)
        switch subject {
        case .image(let image): native.image = image.handle.pointer
        case .features(let features): native.image_features = features.handle.pointer
        }
        native.task = try arguments.string(task, "task")
        native.prompt = try arguments.string(prompt, "prompt")
        native.input = try arguments.string(input, "input")
        switch region {
        case .pixels(let x1, let y1, let x2, let y2):
            native.region = (x1, y1, x2, y2)
            native.region_unit = 1
        case .normalized(let x1, let y1, let x2, let y2):
            native.region = (x1, y1, x2, y2)
            native.region_unit = 2
        case nil: break
        }
        return native
    }
}
