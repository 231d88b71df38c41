//! The `<image>` placeholders of Hugging Face's `input_ids`: one per image token, before the
//! prompt. The image embeddings replace them, so they are removed here.

use burn::tensor::{Int, Tensor};
use florence2_kernels::Backend;

use crate::error::{Error, Result};

/// The prompts of a batch, without placeholders.
#[derive(Debug)]
pub(crate) struct Prompts<B: Backend> {
    /// `[batch, tokens]`.
    pub(crate) input_ids: Tensor<B, 2, Int>,
    /// `[batch, tokens]`, 1 for the prompt and 0 for padding; `None` if nothing is padded.
    pub(crate) attention_mask: Option<Tensor<B, 2, Int>>,
}

impl<B: Backend> Prompts<B> {
    /// Removes the placeholders, if there are any. Reads the ids back to
    /// the host if the model has a placeholder.
    ///
    /// # Shapes
    /// - `image_features`: `[batch, image_tokens, d_model]`
    /// - `input_ids`, `attention_mask`: `[batch, placeholders + tokens]`
    ///
    /// # Errors
    /// [`Error::Argument`] if the shapes do not fit each other, or with every row whose placeholders
    /// are not exactly `image_tokens` at its start.
    pub(crate) fn new(
        image_features: &Tensor<B, 3>,
        input_ids: Tensor<B, 2, Int>,
        attention_mask: Option<Tensor<B, 2, Int>>,
        image_token_id: Option<u32>,
    ) -> Result<Self> {
        let [batch, image_tokens, _] = image_features.dims();
        let shape = input_ids.dims();
        if shape[0] != batch {
            let found = format!("{} rows", shape[0]);
            return Err(Error::argument(
                "input_ids",
                found,
                format!("{batch}, one per image"),
            ));
        }
        if let Some(mask) = attention_mask.as_ref().filter(|mask| mask.dims() != shape) {
            let found = format!("the shape {:?}", mask.dims());
            let expected = format!("{shape:?}, as of `input_ids`");
            return Err(Error::argument("attention_mask", found, expected));
        }
        let rows = match image_token_id {
            Some(_) => to_host(&input_ids),
            None => Vec::new(),
        };
        let is_image = |id: &i64| image_token_id.is_some_and(|image| i64::from(image) == *id);
        let total = |row: &[i64]| row.iter().filter(|id| is_image(id)).count();
        let leading = |row: &[i64]| row.iter().take_while(|id| is_image(id)).count();
        if rows.iter().all(|row| total(row) == 0) {
            return Ok(Self {
                input_ids,
                attention_mask,
            });
        }
        let offenders: Vec<String> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| total(row) != image_tokens || leading(row) != image_tokens)
            .map(|(index, row)| {
                let (leading, total) = (leading(row), total(row));
                format!("{leading} at the start and {total} in all of row {index}")
            })
            .collect();
        let tokens = shape[1];
        if !offenders.is_empty() || tokens == image_tokens {
            let found = match offenders.is_empty() {
                true => "no token after the `<image>` placeholders".to_owned(),
                false => format!("`<image>` placeholders: {}", offenders.join(", ")),
            };
            let expected = format!(
                "the image's {image_tokens} placeholders at the start of every row and the prompt \
                 after them, or no placeholder"
            );
            return Err(Error::argument("input_ids", found, expected));
        }
        let prompt = |ids: Tensor<B, 2, Int>| ids.narrow(1, image_tokens, tokens - image_tokens);
        Ok(Self {
            input_ids: prompt(input_ids),
            attention_mask: attention_mask.map(prompt),
        })
    }

    /// Each prompt's ids without its padding.
    pub(crate) fn unpadded(&self) -> Vec<Vec<u32>> {
        let rows = to_host(&self.input_ids).into_iter();
        let ids = |row: Vec<i64>| row.into_iter().map(|id| id as u32).collect::<Vec<u32>>();
        let Some(attention_mask) = &self.attention_mask else {
            return rows.map(ids).collect();
        };
        rows.map(ids)
            .zip(to_host(attention_mask))
            .map(|(ids, mask)| {
                let tokens = ids.into_iter().zip(mask).filter(|(_, kept)| *kept != 0);
                tokens.map(|(id, _)| id).collect()
            })
            .collect()
    }
}

fn to_host<B: Backend>(ids: &Tensor<B, 2, Int>) -> Vec<Vec<i64>> {
    let [_, tokens] = ids.dims();
    let ids: Vec<i64> = ids.to_data().iter::<i64>().collect();
    ids.chunks(tokens.max(1)).map(<[i64]>::to_vec).collect()
}
