//! Compiles the crate again when files were added to the folders that `shell/assets.rs` embeds, such as the chart library
//! by `scripts/assets`. Cargo itself notices only changes of files that were there before.

fn main() {
    for folder in ["../../static", "../../templates"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
