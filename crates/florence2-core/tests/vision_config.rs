//! Fields of `vision_config` under the names of either layout.

#![allow(clippy::unwrap_used)]

use florence2_core::Florence2Config;
use serde_json::{Value, json};

fn parse(vision: &Value) -> Result<Florence2Config, String> {
    let config = json!({"vision_config": vision, "text_config": {}});
    Florence2Config::from_json(config.to_string().as_bytes(), "config.json")
        .map_err(|error| error.to_string())
}

#[test]
fn hugging_faces_names_have_precedence() {
    let (first, second) = (json!([64, 128, 256, 512]), json!([32, 64, 128, 256]));
    let widths = |vision: Value| parse(&vision).unwrap().vision_config.embed_dim;
    assert_eq!(widths(json!({})), [128, 256, 512, 1024]);
    assert_eq!(widths(json!({"embed_dim": first})), [64, 128, 256, 512]);
    assert_eq!(widths(json!({"dim_embed": first})), [64, 128, 256, 512]);
    let both = json!({"dim_embed": second, "embed_dim": first});
    assert_eq!(widths(both), [64, 128, 256, 512]);

    let both = json!({
        "max_temporal_embeddings": 10,
        "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 20},
        "max_position_embeddings": 30,
        "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 40},
    });
    let config = parse(&both).unwrap().vision_config;
    assert_eq!(config.max_temporal_embeddings, 10);
    assert_eq!(config.max_position_embeddings, 30);
    let microsoft = json!({
        "visual_temporal_embedding": {"max_temporal_embeddings": 20},
        "image_pos_embed": {"max_pos_embeddings": 40},
    });
    let config = parse(&microsoft).unwrap().vision_config;
    assert_eq!(config.max_temporal_embeddings, 20);
    assert_eq!(config.max_position_embeddings, 40);
}

#[test]
fn values_of_another_type_name_the_field() {
    for (vision, named) in [
        (json!({"window_size": [12, 12]}), "vision_config"),
        (json!({"window_size": [12, 12]}), "sequence"),
        (json!({"embed_dim": null}), "null"),
        (json!({"embed_dim": 128}), "integer `128`"),
        (json!({"dim_embed": "128"}), "string"),
    ] {
        let error = parse(&vision).unwrap_err();
        assert!(error.starts_with("config.json: "), "{vision}: {error}");
        assert!(error.contains(named), "{vision}: {error}");
    }
}
