import CFlorence2

/// A generated token.
public struct Florence2Token: Sendable, Equatable {
    /// The index of the token's request in a batch, else 0.
    public let request: Int
    /// The token's id in the vocabulary.
    public let id: UInt32
    /// The token's text. A character that consists of several tokens is part of the text of the last of them. The text
    /// of `<s>`, `</s>` and `<pad>` is empty.
    public let text: String
    /// The natural log-probability, given the tokens before this one; 0 for a forced token.
    public let logProb: Float

    init(_ native: florence2_token) {
        request = native.request
        id = native.token_id
        text = String(cString: native.text)
        logProb = native.log_prob
    }
}

extension Florence2Model {
    /// The progress of a run.
    public struct RunProgress: Sendable, Equatable {
        /// The number of tokens that were generated for each incomplete answer.
        public let newTokens: Int
        /// The maximum number of tokens of an answer. Most answers are complete earlier.
        public let maxNewTokens: Int

        init(_ native: florence2_progress) {
            newTokens = native.new_tokens
            maxNewTokens = native.max_new_tokens
        }
    }
}
