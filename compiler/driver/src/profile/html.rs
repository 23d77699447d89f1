//! A profile as one HTML page that needs nothing but itself.

use std::path::Path;

use super::Profile;
use crate::error::Error;
use crate::output::Output;

/// The page without its data: style, drawing and text are in the file, so that it can be edited as what it is.
const PAGE: &str = include_str!("page.html");
/// What the data takes the place of.
const DATA: &str = "\"PROFILE\"";

/// The page of a profile.
pub fn page(profile: &Profile) -> String {
    // Strings and numbers always have a JSON form. No name in it can end the script that it stands in.
    let data = serde_json::to_string(profile).unwrap_or_default();
    let data = data.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    PAGE.replacen(DATA, &data, 1)
}

/// Writes the page of a profile.
pub fn write_page(profile: &Profile, path: impl AsRef<Path>) -> Result<(), Error> {
    let mut output = Output::default();
    output.add(path.as_ref(), page(profile).as_bytes())?;
    output.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::{Limits, Timing};
    use crate::profile::Layer;

    #[test]
    fn no_name_can_end_the_script() {
        let time = Timing::new(&[Duration::from_millis(1)]);
        let hostile = "</script><!--<script>&amp; \"PROFILE\"".to_string();
        let layer = Layer {
            number: 0,
            runs: 1,
            node: hostile.clone(),
            operator: String::new(),
            kernel: String::new(),
            time: time.clone(),
            share_of_time: 1.0,
            multiply_adds: 0,
            operations: 0,
            needed_operations: 0,
            weight_bytes: 0,
            activation_bytes: 0,
            intensity: 0.0,
            gflops: 0.0,
            gigabytes_per_second: 0.0,
            bound_ms: 0.0,
            share_of_roofline: 0.0,
            memory_bound: true,
        };
        let limits = Limits { vector_bits: 128, processor_vector_bits: 128, gflops: 1.0, levels: Vec::new() };
        let profile = Profile {
            model: hostile.clone(),
            target: String::new(),
            version: "",
            whole: time,
            sum_ms: 1.0,
            bound_ms: 0.0,
            multiply_adds: 0,
            footprint_bytes: 0,
            limits,
            layers: vec![layer],
        };
        let page = page(&profile);
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        let data =
            page.lines().find_map(|l| l.strip_prefix("const profile = ")?.strip_suffix(';')).expect("data");
        let back: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(back["layers"][0]["node"], hostile);
    }

    #[test]
    fn the_page_has_one_place_for_data_and_needs_nothing_else() {
        assert_eq!(PAGE.matches(DATA).count(), 1);
        // The name of SVG's vocabulary is no address, and `url(#…)` is a place in the page itself.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "").replace("url(#", "");
        for outside in ["http://", "https://", "@import", "src=", "url("] {
            assert!(!page.contains(outside), "the page refers to something outside: {outside}");
        }
    }
}
