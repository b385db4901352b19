//! Makes the page's scripts small: comments, spaces and long local names stay behind. What is written is what is tested and published as a
//! package; what travels is this.

use std::fs;
use std::path::{Path, PathBuf};

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions, CommentOptions};
use oxc_minifier::{CompressOptions, MangleOptions, Minifier, MinifierOptions};
use oxc_parser::Parser;
use oxc_span::SourceType;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    println!("cargo::rerun-if-changed=page");
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("page");
    for folder in ["", "words"] {
        let from = Path::new("page").join(folder);
        fs::create_dir_all(out.join(folder))?;
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == "js") {
                let name = path.file_name().unwrap_or_default();
                fs::write(out.join(folder).join(name), small(&path)?)?;
            }
        }
    }
    Ok(())
}

/// A module as short as it can be said. What other modules see of it keeps its name.
fn small(path: &Path) -> Outcome<String> {
    let text = fs::read_to_string(path)?;
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &text, SourceType::mjs()).parse();
    if let Some(wrong) = parsed.diagnostics.first() {
        return Err(format!("{}: {wrong}", path.display()).into());
    }
    let mut program = parsed.program;
    let options = MinifierOptions {
        mangle: Some(MangleOptions::default()),
        mangle_properties: None,
        compress: Some(CompressOptions::smallest()),
    };
    let made = Minifier::new(options).minify(&allocator, &mut program);
    let printing =
        CodegenOptions { minify: true, comments: CommentOptions::disabled(), ..CodegenOptions::default() };
    Ok(Codegen::new().with_options(printing).with_scoping(made.scoping).build(&program).code)
}
