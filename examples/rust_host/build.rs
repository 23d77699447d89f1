//! Links the static library that `avocet compile` wrote into the folder `MODEL_FOLDER`.

/// The Rust file beside it, which `main.rs` includes, is in the same folder.
fn main() {
    println!("cargo::rerun-if-env-changed=MODEL_FOLDER");
    let folder = std::env::var("MODEL_FOLDER").unwrap_or_else(|_| "build".into());
    let whole = std::path::absolute(&folder).expect("a path");
    println!("cargo::rustc-env=MODEL={}", whole.join("efficientnet_lite0.rs").display());
    println!("cargo::rerun-if-changed={folder}/libefficientnet_lite0.a");
    println!("cargo::rustc-link-search=native={folder}");
    println!("cargo::rustc-link-lib=static=efficientnet_lite0");
}
