//! Slices through the thorax in Hounsfield units, with contrast in the vessels.

use super::canvas::{Canvas, Outline, Point, smooth};
use super::thorax::{BOTTOM, CARINA, Stuff, Thorax};

/// Pixels along the edge of a slice.
pub(super) const EDGE: usize = 512;

/// Millimetres between pixels: a field of view of 366 mm.
pub(super) const SPACING: f32 = 0.714_844;

/// z of the first slice.
pub(super) const TOP: f32 = -6.0;

/// Millimetres from the first slice to the last.
pub(super) const LENGTH: f32 = BOTTOM + 30.0;

/// Hounsfield units of what is painted.
const FAT: f32 = -105.0;
const MUSCLE: f32 = 58.0;
const BLOOD: f32 = 215.0;
const LUNG: f32 = -865.0;
/// Darker than this is lung, where vessels show and nothing solid has been painted.
const LUNG_MOST: f32 = -420.0;

/// How a slice is reconstructed from the same scan.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Smooth, for soft tissue.
    Soft,
    /// Sharp, for the lung.
    Sharp,
}

/// One slice at `z` millimetres, as little-endian words with 1024 added.
pub(super) fn slice(thorax: &Thorax, z: f32, kernel: Kernel, salt: u64) -> Vec<u8> {
    let mut canvas = Canvas::square(EDGE, SPACING, -1000.0);
    table(&mut canvas);
    wall(&mut canvas, thorax, z);
    lungs(&mut canvas, thorax, z);
    domes(&mut canvas, thorax, z);
    vessels(&mut canvas, thorax, z);
    mediastinum(&mut canvas, z);
    heart(&mut canvas, z);
    great_vessels(&mut canvas, z);
    airway(&mut canvas, z);
    spine(&mut canvas, z);
    ribs(&mut canvas, thorax, z);
    sternum_and_shoulder_blades(&mut canvas, thorax, z);
    let (middle, sigma) = match kernel {
        Kernel::Soft => (2.0, 10.0),
        Kernel::Sharp => (7.0, 26.0),
    };
    canvas.blur(middle);
    canvas.words(sigma, 1024.0, 4095.0, salt)
}

/// The couch: a shallow trough of carbon fibre with foam in it.
fn table(canvas: &mut Canvas) {
    let trough = |drop: f32, thick: f32| -> Vec<Point> {
        let edge = |x: f32| 118.0 + drop - 16.0 * (x / 205.0) * (x / 205.0);
        let above = (-40..=40).map(|step| (step as f32 * 5.1, edge(step as f32 * 5.1)));
        let below =
            (-40..=40).rev().map(|step| (step as f32 * 5.1, edge(step as f32 * 5.1) + thick));
        above.chain(below).collect()
    };
    canvas.fill(&trough(0.0, 26.0), |_| -270.0);
    canvas.fill(&trough(1.6, 22.0), |_| -930.0);
}

/// Skin, fat and the muscles around the ribs.
fn wall(canvas: &mut Canvas, thorax: &Thorax, z: f32) {
    const BODY: &[(f32, f32, f32)] = &[(2.0, 0.010, 0.0), (4.0, -0.030, 0.0), (3.0, 0.012, 1.5)];
    let (wide, deep) = thorax.body(z);
    let ring =
        |less: f32| Outline::ellipse((0.0, 2.0), (wide - less, deep - less)).wavy(BODY).points();
    canvas.fill(&ring(0.0), |_| 15.0);
    canvas.fill(&ring(2.2), |_| FAT);
    let (inner_wide, inner_deep) = thorax.cavity(z);
    let upper = ((130.0 - z) / 110.0).clamp(0.0, 1.0);
    let in_body =
        |value: f32| move |old: f32| if (-500.0..=0.0).contains(&old) { value } else { old };
    // Latissimus and serratus beside the ribs, the pectorals in front of them.
    for side in [-1.0, 1.0] {
        let beside = Outline::ellipse(
            (side * (inner_wide + 10.0), 26.0),
            (10.0 + 16.0 * upper, 52.0 - 10.0 * (1.0 - upper)),
        );
        canvas.fill(&beside.turned(side * 0.12).points(), in_body(MUSCLE));
        let front = Outline::ellipse((side * 60.0, -inner_deep - 2.0), (50.0, 5.0 + 11.0 * upper));
        canvas.fill(&front.turned(side * 0.30).points(), in_body(MUSCLE - 4.0));
        let back = Outline::ellipse((side * 27.0, inner_deep + 4.0), (24.0, 16.0));
        canvas.fill(&back.turned(side * -0.15).points(), in_body(MUSCLE));
    }
    let cage = Outline::ellipse((0.0, 0.0), (inner_wide + 11.0, inner_deep + 10.0));
    canvas.fill(&cage.wavy(CAVITY).points(), |old| if old < 0.0 { MUSCLE - 10.0 } else { old });
    let pleura = Outline::ellipse((0.0, 0.0), (inner_wide + 1.6, inner_deep + 1.6));
    canvas.fill(&pleura.wavy(CAVITY).points(), |_| MUSCLE - 20.0);
}

/// The chest is flat in front and round at the sides.
const CAVITY: &[(f32, f32, f32)] = &[(4.0, -0.026, 0.0), (3.0, 0.018, 1.57)];

/// Both lungs, denser towards the back where the patient lies, with their grain.
fn lungs(canvas: &mut Canvas, thorax: &Thorax, z: f32) {
    let (wide, deep) = thorax.cavity(z);
    canvas.fill(&Outline::ellipse((0.0, 0.0), (wide, deep)).wavy(CAVITY).points(), |_| LUNG);
    // What is smooth is worked out for blocks of 4 by 2 pixels.
    for row in (0..canvas.height).step_by(2) {
        let y = canvas.place(0, row).1;
        if y.abs() > deep * 1.1 {
            continue;
        }
        for column in (0..canvas.width).step_by(4) {
            let x = canvas.place(column, row).0;
            if x.abs() > wide * 1.1 {
                continue;
            }
            let grain = 26.0 * smooth(x * 0.22, y * 0.22, z * 0.22, 7)
                + 22.0 * smooth(x * 0.07, y * 0.07, z * 0.07, 8)
                + 0.42 * y;
            for start in [row * EDGE + column, (row + 1) * EDGE + column] {
                for pixel in &mut canvas.pixels[start..start + 4] {
                    if *pixel < LUNG_MOST && *pixel > -880.0 {
                        *pixel += grain;
                    }
                }
            }
        }
    }
}

/// Liver under the right dome of the diaphragm; spleen and stomach under the left.
fn domes(canvas: &mut Canvas, thorax: &Thorax, z: f32) {
    let lung_only = |value: f32| move |old: f32| if old < LUNG_MOST { value } else { old };
    let (wide, deep) = thorax.cavity(z);
    let bulge = |top: f32, tall: f32| {
        let low = ((z - top) / tall).clamp(0.0, 1.0);
        (1.0 - (1.0 - low) * (1.0 - low)).sqrt()
    };
    let right = bulge(222.0, 70.0);
    if right > 0.0 {
        let at = (-0.47 * wide, -4.0);
        let liver = Outline::ellipse(at, (right * wide * 0.60, right * deep * 0.98));
        canvas.fill(&liver.points(), lung_only(-10.0));
        let liver = Outline::ellipse(at, (right * wide * 0.60 - 2.5, right * deep * 0.98 - 2.5));
        canvas.fill(&liver.points(), |old| if old < -9.0 && old > -11.0 { 112.0 } else { old });
    }
    let left = bulge(238.0, 66.0);
    if left > 0.0 {
        let dome = Outline::ellipse((0.5 * wide, 4.0), (left * wide * 0.55, left * deep * 0.92));
        canvas.fill(&dome.points(), lung_only(FAT + 20.0));
        let spleen = Outline::ellipse((0.62 * wide, 36.0), (left * 38.0, left * 22.0));
        canvas.fill(&spleen.turned(-0.5).points(), |old| {
            if old > -95.0 && old < 0.0 { 125.0 } else { old }
        });
        let stomach = Outline::ellipse((0.46 * wide, -22.0), (left * 36.0, left * 29.0)).points();
        let inside =
            |value: f32| move |old: f32| if old > -95.0 && old < 0.0 { value } else { old };
        canvas.fill(&stomach, inside(38.0));
        let bubble = Outline::ellipse((0.46 * wide, -30.0), (left * 30.0, left * 18.0)).points();
        canvas.fill(&bubble, |old| if old > 30.0 && old < 46.0 { -960.0 } else { old });
    }
}

/// Vessels and the nodule, in the lung only.
fn vessels(canvas: &mut Canvas, thorax: &Thorax, z: f32) {
    let nodule = std::iter::once((&thorax.nodule, 35.0));
    for (ball, value) in thorax.vessels.iter().map(|ball| (ball, 150.0)).chain(nodule) {
        let away = ball.z - z;
        let radius = ball.radius * ball.radius - away * away;
        if radius > 0.0 {
            let radius = radius.sqrt();
            let paint =
                |old: f32| if old < LUNG_MOST || radius > 1.5 { old.max(value) } else { old };
            canvas.disc((ball.x, ball.y), radius, paint);
        }
    }
}

/// The fat between the lungs, from the sternum to the spine.
fn mediastinum(canvas: &mut Canvas, z: f32) {
    let waist = 22.0 + 9.0 * (-((z - CARINA) / 50.0).powi(2)).exp() + 0.03 * z.max(0.0);
    let front = Outline::ellipse((2.0, -34.0), (waist * 0.66, 52.0));
    canvas.fill(&front.wavy(&[(3.0, 0.05, 0.4), (5.0, 0.03, 1.0)]).points(), |_| -88.0);
    let back = Outline::ellipse((2.0, 24.0), (waist, 44.0));
    canvas.fill(&back.wavy(&[(3.0, 0.04, 2.0), (4.0, 0.04, 0.3)]).points(), |_| -84.0);
}

/// Pericardial fat, muscle of the heart, its four chambers with contrast.
fn heart(canvas: &mut Canvas, z: f32) {
    let middle = (z - 192.0) / 62.0;
    if middle.abs() >= 1.0 {
        return;
    }
    let part = (1.0 - middle * middle).sqrt();
    let at = (20.0 + 9.0 * middle, -20.0 + 4.0 * middle);
    let ring = |less: f32| {
        Outline::ellipse(at, ((64.0 * part - less).max(1.0), (49.0 * part - less).max(1.0)))
            .turned(0.42)
            .wavy(&[(3.0, 0.035, 0.9), (2.0, 0.02, 0.0)])
            .points()
    };
    canvas.fill(&ring(-5.0), |_| -92.0);
    canvas.fill(&ring(0.0), |_| 102.0);
    let mut chamber = |x: f32, y: f32, wide: f32, deep: f32, turn: f32, value: f32| {
        let outline =
            Outline::ellipse((at.0 + x * part, at.1 + y * part), (wide * part, deep * part));
        canvas.fill(&outline.turned(turn).points(), |_| value);
    };
    let low = middle.clamp(-0.6, 0.8);
    chamber(-38.0, 2.0, 18.0, 24.0, 0.2, 160.0);
    chamber(-2.0, -22.0, 30.0 + 8.0 * low, 16.0, 0.42, 172.0);
    chamber(24.0, 7.0, 28.0 + 6.0 * low, 15.0, 0.55, BLOOD);
    if low < 0.45 {
        chamber(-8.0, 31.0, 25.0, 14.0, 0.05, BLOOD - 5.0);
    }
}

/// Aorta, pulmonary trunk and its two branches, the upper and lower hollow vein.
fn great_vessels(canvas: &mut Canvas, z: f32) {
    let mut discs: Vec<(Point, f32, f32)> = Vec::new();
    let mut tube = |x: f32, y: f32, radius: f32, value: f32| discs.push(((x, y), radius, value));
    if z > 78.0 {
        tube(24.0 - 0.05 * (z - 78.0), 42.0 + 0.02 * (z - 78.0), 12.2, BLOOD);
    }
    if (30.0..78.0).contains(&z) {
        for (x, y, radius) in [(18.0, 10.0, 4.5), (4.0, -14.0, 4.2), (-14.0, -10.0, 6.0)] {
            tube(x, y, radius, BLOOD);
        }
    }
    if (66.0..90.0).contains(&z) {
        for step in 0..=12 {
            let part = step as f32 / 12.0;
            let bend = 9.0 * (part * std::f32::consts::PI).sin();
            tube(-10.0 + 34.0 * part + bend, -26.0 + 66.0 * part, 11.5, BLOOD);
        }
    }
    if (90.0..160.0).contains(&z) {
        tube(-12.0 + 0.1 * (z - 90.0), -30.0, 15.5, BLOOD);
    }
    if (60.0..165.0).contains(&z) {
        tube(-30.0, -20.0 + 0.06 * (z - 60.0), 8.5, BLOOD + 15.0);
    }
    if z > 228.0 {
        tube(-22.0, 4.0, 12.0, 130.0);
    }
    if (104.0..150.0).contains(&z) {
        tube(18.0, -33.0, 14.0, BLOOD - 8.0);
        let thick = 10.0 * (1.0 - ((z - 122.0) / 20.0).powi(2)).max(0.0).sqrt();
        for step in 0..=10 {
            let part = step as f32 / 10.0;
            if thick > 1.0 {
                let (right, left) = (thick * (1.0 - 0.25 * part), thick * (1.0 - 0.2 * part));
                tube(14.0 - 52.0 * part, -26.0 + 26.0 * part, right, BLOOD - 8.0);
                tube(18.0 + 20.0 * part, -33.0 + 38.0 * part, left, BLOOD - 8.0);
            }
        }
    }
    for (at, radius, _) in &discs {
        canvas.disc(*at, radius + 1.4, |_| 45.0);
    }
    for (at, radius, value) in &discs {
        canvas.disc(*at, *radius, |_| *value);
    }
}

/// Trachea, main bronchi, gullet.
fn airway(canvas: &mut Canvas, z: f32) {
    let mut pipe = |x: f32, y: f32, radii: Point| {
        let wall = Outline::ellipse((x, y), (radii.0 + 1.5, radii.1 + 1.5));
        canvas.fill(&wall.points(), |_| 30.0);
        canvas.fill(&Outline::ellipse((x, y), radii).points(), |_| -985.0);
    };
    if z < CARINA {
        pipe(-2.0, 6.0 + 0.06 * z, (9.0, 8.6));
    } else if z < CARINA + 55.0 {
        let down = z - CARINA;
        let thin = (8.0 - 0.07 * down).max(3.5);
        pipe(-6.0 - 0.62 * down, 13.0 + 0.1 * down, (thin + 1.5, thin));
        pipe(4.0 + 0.72 * down, 13.0 + 0.12 * down, (thin + 2.0, thin - 0.4));
    }
    let shift = if z > 220.0 { 0.16 * (z - 220.0) } else { 0.0 };
    let gullet = Outline::ellipse((7.0 + shift, 31.0), (8.0, 5.5));
    canvas.fill(&gullet.points(), |_| 46.0);
}

/// A vertebra, or the disc between two.
fn spine(canvas: &mut Canvas, z: f32) {
    let step = (z + 40.0).rem_euclid(25.0);
    let (size, middle) = (1.0 + 0.0012 * z, (0.0, 62.0));
    let body = |less: f32| {
        Outline::ellipse(middle, (18.5 * size - less, 15.5 * size - less))
            .wavy(&[(2.0, 0.03, 0.0), (4.0, 0.05, 0.8)])
            .points()
    };
    if step < 5.0 {
        canvas.fill(&body(0.8), |_| 92.0);
    } else {
        let plate = !(7.0..=23.0).contains(&step);
        canvas.fill(&body(0.0), |_| 520.0);
        canvas.fill(&body(1.8), |_| if plate { 420.0 } else { 205.0 });
    }
    let mut bone = |at: Point, radii: Point, turn: f32| {
        let outer = Outline::ellipse(at, radii).turned(turn).points();
        canvas.fill(&outer, |_| 480.0);
        let inner = Outline::ellipse(at, (radii.0 - 1.6, radii.1 - 1.6)).turned(turn).points();
        canvas.fill(&inner, |old| if old > 450.0 { 260.0 } else { old });
    };
    bone((0.0, 87.0), (15.0, 12.5), 0.0);
    if (8.0..20.0).contains(&step) {
        for side in [-1.0, 1.0] {
            bone((side * 15.0, 80.0), (6.0, 9.0), 0.0);
            bone((side * 27.0, 88.0), (16.0, 5.0), side * 0.42);
        }
    }
    bone((0.0, 103.0), (4.0, 9.0 + 4.0 * (step / 25.0)), 0.0);
    canvas.disc((0.0, 85.0), 9.6, |_| -60.0);
    canvas.disc((0.0, 85.0), 8.6, |_| 22.0);
    canvas.disc((0.0, 85.0), 5.0, |_| 42.0);
}

/// The ribs where the slice cuts them.
fn ribs(canvas: &mut Canvas, thorax: &Thorax, z: f32) {
    let cut = |ball: &super::thorax::Ball| {
        let away = (ball.z - z) / 1.25;
        (ball.radius * ball.radius - away * away).max(0.0).sqrt() * 0.72
    };
    let near = |stuff: Stuff| {
        let ribs = thorax.ribs.iter().filter(move |(_, of)| *of == stuff);
        ribs.map(|(ball, _)| ((ball.x, ball.y), cut(ball))).filter(|(_, radius)| *radius > 0.4)
    };
    for (at, radius) in near(Stuff::Cartilage) {
        canvas.disc(at, radius, |_| 110.0);
    }
    for (at, radius) in near(Stuff::Bone) {
        canvas.disc(at, radius, |_| 620.0);
    }
    for (at, radius) in near(Stuff::Bone).filter(|(_, radius)| *radius > 1.9) {
        canvas.disc(at, radius - 1.5, |_| 240.0);
    }
}

/// The breastbone, and above it the collar bones; the shoulder blades at the back.
fn sternum_and_shoulder_blades(canvas: &mut Canvas, thorax: &Thorax, z: f32) {
    let (wide, deep) = thorax.cavity(z);
    let mut bone = |at: Point, radii: Point, turn: f32| {
        canvas.fill(&Outline::ellipse(at, radii).turned(turn).points(), |_| 560.0);
        let inner = (radii.0 - 1.5, radii.1 - 1.5);
        if inner.1 > 0.6 {
            canvas.fill(&Outline::ellipse(at, inner).turned(turn).points(), |_| 220.0);
        }
    };
    if (38.0..205.0).contains(&z) {
        let broad = if z < 85.0 { 27.0 - 0.25 * (z - 38.0) } else { 15.5 };
        bone((0.0, -deep - 6.0), (broad, 6.2), 0.0);
    }
    for side in [-1.0, 1.0] {
        if z < 36.0 {
            let out = (36.0 - z) * 1.9;
            bone((side * (24.0 + out), -66.0 + 0.16 * out), (17.0, 6.5), side * 0.35);
        }
        if (6.0..150.0).contains(&z) {
            let part = 1.0 - (z - 6.0) / 144.0;
            let at = (side * (wide.max(70.0) + 4.0), 62.0 + 6.0 * part);
            bone(at, (14.0 + 26.0 * part, 3.4), side * -0.62);
            if z < 50.0 {
                bone((at.0 + side * 22.0, at.1 - 26.0), (10.0, 12.0), 0.0);
            }
        }
    }
}
