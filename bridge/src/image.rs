//! SVG pictures to PNG bytes, with a font that comes along: the picture is the
//! same on every machine, also on one without fonts.

use crate::border::{guard, reading, Buffer, Failure, Outcome, View};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{fontdb, Options, Tree};
use std::sync::{Arc, OnceLock};

const FONT: &[u8] = include_bytes!("../assets/DejaVuSans-Latin.ttf");
const FAMILY: &str = "DejaVu Sans";

fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(FONT.to_vec());
        fonts.set_sans_serif_family(FAMILY);
        Arc::new(fonts)
    };
    FONTS.get_or_init(load).clone()
}

fn png_of(svg: &str, scale: f32) -> Outcome<Vec<u8>> {
    let options = Options {
        font_family: FAMILY.to_string(),
        fontdb: fonts(),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(Failure::broken)?;
    let size = tree.size().to_int_size().scale_by(scale);
    let mut pixels = size
        .and_then(|size| Pixmap::new(size.width(), size.height()))
        .ok_or_else(|| Failure::broken("a picture of this size can't be held"))?;
    let transform = Transform::from_scale(scale, scale);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    pixels.encode_png().map_err(Failure::broken)
}

#[no_mangle]
pub unsafe extern "C" fn rb_png_from_svg(
    svg: View,
    scale: f32,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let svg = svg.text()?;
        let png = reading(|| png_of(svg, scale))??;
        out.write(Buffer::from_bytes(png));
        Ok(())
    })
}
