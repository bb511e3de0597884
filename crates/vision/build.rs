//! Compiles the C side of the JPEG decoder against the headers of the libjpeg-turbo that `turbojpeg-sys` has built.

fn main() {
    const GLUE: &str = "src/decode/jpeg/libjpeg.c";
    println!("cargo::rerun-if-changed={GLUE}");
    let mut build = cc::Build::new();
    let headers = std::env::var("DEP_TURBOJPEG_INCLUDE").expect("turbojpeg-sys says where its headers are");
    build.includes(headers.split(','));
    build.file(GLUE).warnings(true).extra_warnings(true).compile("vs_libjpeg");
}
