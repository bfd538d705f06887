// SPDX-License-Identifier: GPL-2.0
//! Draws plots, each as an SVG for documents and as a PNG for everything else.

use crate::commands::bench::figures::{Figure, Report};
use crate::tools::need::{Need, Probe};
use anyhow::{anyhow, Context as _, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{register_font, FontStyle};
use std::path::Path;

/// The font of the text in the plots.
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
/// The package that provides the font.
pub const FONT_NEED: Need = Need {
    name: "DejaVu Sans, for the plots",
    probe: Probe::File(FONT),
    packages: &["fonts-dejavu-core"],
};

const SIZE: (u32, u32) = (960, 600);

/// Each core's name, color and value of a figure.
type Core = (&'static str, RGBColor, fn(&Figure) -> f64);
const CORES: [Core; 2] = [
    ("C core", RGBColor(0x1f, 0x77, 0xb4), |figure| {
        figure.c.median
    }),
    ("Rust core", RGBColor(0xd6, 0x4b, 0x1e), |figure| {
        figure.rust.median
    }),
];

/// Draws every figure that was measured for several sizes, and the costs of calls. Returns the
/// number of plots.
pub fn all(report: &Report, dir: &Path) -> Result<usize> {
    let font = std::fs::read(FONT).with_context(|| format!("cannot read {FONT}"))?;
    // plotters needs the font for as long as the program runs.
    register_font("sans-serif", FontStyle::Normal, Vec::leak(font))
        .map_err(|_| anyhow!("{FONT} is no font"))?;
    let mut names: Vec<&str> = report.figures.iter().map(|figure| figure.name).collect();
    names.dedup();
    let mut plots = 0;
    for name in names {
        let figures: Vec<&Figure> = report.figures.iter().filter(|f| f.name == name).collect();
        if figures.len() > 1 {
            both(dir, name, &Drawing::Lines(&figures))?;
            plots += 1;
        }
    }
    let calls: Vec<&Figure> = report
        .figures
        .iter()
        .filter(|figure| figure.unit == "extra instructions")
        .collect();
    if !calls.is_empty() {
        both(dir, "instructions per call", &Drawing::Bars(&calls))?;
        plots += 1;
    }
    Ok(plots)
}

/// The content of a plot.
enum Drawing<'a> {
    /// Lines over the size. Both axes are logarithmic, so linear growth is a straight line.
    Lines(&'a [&'a Figure]),
    /// Bars of both cores, side by side.
    Bars(&'a [&'a Figure]),
}

fn both(dir: &Path, name: &str, drawing: &Drawing<'_>) -> Result<()> {
    let file = name.replace(' ', "-");
    let svg = dir.join(format!("{file}.svg"));
    let png = dir.join(format!("{file}.png"));
    draw(
        SVGBackend::new(&svg, SIZE).into_drawing_area(),
        name,
        drawing,
    )?;
    draw(
        BitMapBackend::new(&png, SIZE).into_drawing_area(),
        name,
        drawing,
    )
}

fn draw<B>(area: DrawingArea<B, Shift>, name: &str, drawing: &Drawing<'_>) -> Result<()>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    let drawn = match drawing {
        Drawing::Lines(figures) => lines(&area, name, figures),
        Drawing::Bars(figures) => bars(&area, name, figures),
    };
    drawn
        .and_then(|()| area.present())
        .map_err(|error| anyhow!("{name}: {error}"))
}

/// The result of drawing on `B`.
type Drawn<B> = std::result::Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn lines<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    name: &str,
    figures: &[&Figure],
) -> Drawn<B> {
    let unit = figures.first().map_or("", |figure| figure.unit);
    let sizes = figures.iter().map(|figure| figure.size as f64);
    let least = sizes.clone().fold(f64::MAX, f64::min).max(1.0);
    let most = sizes.fold(1.0, f64::max);
    let values = figures
        .iter()
        .flat_map(|figure| [figure.c.median, figure.rust.median]);
    let low = values
        .clone()
        .filter(|value| *value > 0.0)
        .fold(f64::MAX, f64::min);
    let high = values.fold(low, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 26))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(80)
        .build_cartesian_2d(
            (least..most * 1.1).log_scale(),
            (low / 1.5..high * 1.5).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("functions, or tasks")
        .y_desc(unit)
        .label_style(("sans-serif", 15))
        .draw()?;
    for (label, color, of) in CORES {
        let points: Vec<(f64, f64)> = figures
            .iter()
            .map(|figure| (figure.size as f64, of(figure)))
            .filter(|(_, value)| *value > 0.0)
            .collect();
        chart
            .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        chart.draw_series(
            points
                .into_iter()
                .map(|point| Circle::new(point, 4, color.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .label_font(("sans-serif", 16))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
}

fn bars<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    name: &str,
    figures: &[&Figure],
) -> Drawn<B> {
    let values = figures
        .iter()
        .flat_map(|figure| [figure.c.median, figure.rust.median]);
    let high = values.fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 26))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..figures.len() as f64, 0.0..high * 1.15)?;
    let label = |x: &f64| -> String {
        let figure = figures.get(*x as usize);
        let middle = (x.fract() - 0.5).abs() < 0.01;
        figure
            .filter(|_| middle)
            .map_or(String::new(), |figure| figure.name.to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * figures.len() + 1)
        .x_label_formatter(&label)
        .y_desc("instructions beyond an unpatched call")
        .label_style(("sans-serif", 15))
        .draw()?;
    for ((legend, color, of), left) in CORES.into_iter().zip([0.15, 0.5]) {
        let bar = |(index, figure): (usize, &&Figure)| {
            let x = index as f64 + left;
            Rectangle::new([(x, 0.0), (x + 0.35, of(figure))], color.filled())
        };
        chart
            .draw_series(figures.iter().enumerate().map(bar))?
            .label(legend)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 16, y + 6)], color.filled()));
        let text = |(index, figure): (usize, &&Figure)| {
            let at = (index as f64 + left + 0.08, of(figure) + high * 0.05);
            Text::new(format!("{:.1}", of(figure)), at, ("sans-serif", 16))
        };
        chart.draw_series(figures.iter().enumerate().map(text))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .label_font(("sans-serif", 16))
        .position(SeriesLabelPosition::UpperRight)
        .draw()
}
