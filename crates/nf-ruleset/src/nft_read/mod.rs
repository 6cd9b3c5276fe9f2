//! Reading `nft -j list ruleset` and `nft list ruleset`: the text becomes the same objects as the JSON.

mod elements;
mod fields;
mod rule;
mod statements;
mod tables;
mod text;
mod tokens;
mod value;

pub(crate) use elements::as_ends;
pub(crate) use value::type_name;

pub use tables::{LenientNft, parse_nft, parse_nft_json, parse_nft_lenient};
