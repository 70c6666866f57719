//! Slices through a head, weighted by T1 or T2. x to the patient's left, y to the back,
//! z to the top; z = 0 lies at the height of the ventricles.

use super::canvas::{Canvas, Dice, Outline, Point, smooth};

/// Pixels along the edge of a slice.
pub(super) const EDGE: usize = 256;

/// Millimetres between pixels: a field of view of 240 mm.
pub(super) const SPACING: f32 = 0.9375;

/// z of the first slice.
pub(super) const LOWEST: f32 = -48.0;

/// Millimetres from the first slice to the last.
pub(super) const LENGTH: f32 = 122.0;

/// Half axes of the brain.
const BRAIN: (f32, f32, f32) = (66.0, 82.0, 78.0);

/// What makes the contrast.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    T1,
    T2,
}

/// Signals of the tissues under one weight.
struct Signals {
    fat: f32,
    marrow: f32,
    bone: f32,
    muscle: f32,
    water: f32,
    grey: f32,
    white: f32,
    deep: f32,
}

impl Weight {
    fn signals(self) -> Signals {
        match self {
            Weight::T1 => Signals {
                fat: 930.0,
                marrow: 520.0,
                bone: 45.0,
                muscle: 380.0,
                water: 150.0,
                grey: 470.0,
                white: 690.0,
                deep: 545.0,
            },
            Weight::T2 => Signals {
                fat: 620.0,
                marrow: 320.0,
                bone: 40.0,
                muscle: 210.0,
                water: 1010.0,
                grey: 560.0,
                white: 380.0,
                deep: 430.0,
            },
        }
    }
}

/// One slice at `z` millimetres, as little-endian words.
pub(super) fn slice(seed: u64, z: f32, weight: Weight, salt: u64) -> Vec<u8> {
    let signals = weight.signals();
    let mut canvas = Canvas::square(EDGE, SPACING, 0.0);
    let size = Dice::new(seed).between(0.96, 1.04);
    let part = girth(z);
    let (wide, deep) = (BRAIN.0 * part * size, BRAIN.1 * part * size);
    shell(&mut canvas, &signals, (wide, deep), z);
    brain(&mut canvas, &signals, (wide, deep), z, seed);
    if z < -8.0 {
        base(&mut canvas, &signals, z);
    } else {
        ventricles(&mut canvas, &signals, z, size);
    }
    falx(&mut canvas, &signals, deep, z);
    canvas.blur(4.0);
    shade(&mut canvas);
    canvas.words(11.0, 16.0, 4095.0, salt)
}

/// Relative size of the brain at a height.
fn girth(z: f32) -> f32 {
    if z < 0.0 {
        1.0 - 0.10 * (z / LOWEST).powi(2)
    } else {
        (1.0 - (z / BRAIN.2).powi(2)).max(0.004).sqrt()
    }
}

/// The brain's outline: a little longer than round, the forehead narrower.
const HEAD: &[(f32, f32, f32)] = &[(3.0, 0.022, 1.57), (4.0, -0.010, 0.0)];

/// Scalp, the two plates of the skull with marrow between, water around the brain.
fn shell(canvas: &mut Canvas, signals: &Signals, brain: Point, z: f32) {
    let mut ring = |more: f32, value: f32| {
        let outline = Outline::ellipse((0.0, 0.0), (brain.0 + more, brain.1 + more));
        canvas.fill(&outline.wavy(HEAD).points(), |_| value);
    };
    // Towards the top the layers are cut at a slant and look thicker.
    let slant = 1.0 / girth(z).max(0.35).powf(0.7);
    ring(12.4 * slant, signals.muscle * 0.9);
    ring(11.2 * slant, signals.fat);
    ring(7.6 * slant, signals.bone);
    ring(6.2 * slant, signals.marrow);
    ring(4.0 * slant, signals.bone);
    ring(2.2, signals.water);
}

/// Cortex, its folds, and the white matter inside.
fn brain(canvas: &mut Canvas, signals: &Signals, brain: Point, z: f32, seed: u64) {
    for row in 0..EDGE {
        for column in 0..EDGE {
            let (x, y) = canvas.place(column, row);
            let far = ((x / brain.0).powi(2) + (y / brain.1).powi(2)).sqrt();
            if far > 1.0 {
                continue;
            }
            let depth = (1.0 - far) * 0.5 * (brain.0 + brain.1);
            canvas.pixels[row * EDGE + column] = if depth > CORTEX_DEPTH_MAX {
                signals.white * (1.0 + 0.03 * smooth(x / 3.0, y / 3.0, z / 3.0, seed ^ 6))
            } else {
                // Outwards and inwards along a ray the folds are nearly the same: real ones stand
                // upright on the surface.
                let stretch = (0.55 + 0.45 * far) / far;
                tissue(signals, (x * stretch, y * stretch, z), depth, seed)
            };
        }
    }
}

/// Millimetres below the surface beyond which no fold reaches.
const CORTEX_DEPTH_MAX: f32 = 32.0;

/// What lies `depth` millimetres below the surface of the brain.
fn tissue(signals: &Signals, at: (f32, f32, f32), depth: f32, seed: u64) -> f32 {
    let (x, y, z) = at;
    let bend = |salt: u64| 4.5 * smooth(x / 14.0, y / 14.0, z / 14.0, seed ^ salt);
    let (x, y) = (x + bend(1), y + bend(2));
    let reach = 20.0 + 9.0 * smooth(x / 12.0, y / 12.0, z / 16.0, seed ^ 5);
    // A furrow is where smooth noise passes through zero; its slope makes that a distance.
    let noise = |x: f32, y: f32| smooth(x / 11.0, y / 11.0, z / 17.0, seed ^ 3);
    let here = noise(x, y);
    let slope = (noise(x + 1.0, y) - here).hypot(noise(x, y + 1.0) - here).max(0.045);
    let furrow = here.abs() / slope + (depth - reach).max(0.0);
    let mixed = |from: f32, to: f32, part: f32| from + (to - from) * part.clamp(0.0, 1.0);
    // Furrows are open at the surface and close towards their ground.
    let open = mixed(0.85, 0.25, depth / reach);
    let near = furrow.min(depth + 0.9);
    let value = if near < 2.0 {
        mixed(signals.water, signals.grey, (near - open) / 0.8 + 0.3)
    } else {
        mixed(signals.grey, signals.white, (near - 3.5) / 0.9)
    };
    value * (1.0 + 0.03 * smooth(x / 3.0, y / 3.0, z / 3.0, seed ^ 6))
}

/// Side ventricles, the deep grey matter beside them, the third ventricle between.
fn ventricles(canvas: &mut Canvas, signals: &Signals, z: f32, size: f32) {
    if z > 40.0 {
        return;
    }
    let high = ((40.0 - z) / 14.0).clamp(0.0, 1.0).sqrt();
    let open = (high * size).max(0.1);
    let mut lump = |side: f32, at: Point, radii: Point, turn: f32, value: f32| {
        let outline = Outline::ellipse((side * at.0 * size, at.1 * size), radii);
        canvas.fill(&outline.turned(side * turn).points(), |_| value);
    };
    for side in [-1.0, 1.0] {
        // The white matter around the ventricles has no folds.
        lump(side, (15.0, 2.0), (19.0 * open, 40.0 * open), 0.08, signals.white);
    }
    if z < 22.0 {
        for side in [-1.0, 1.0] {
            lump(side, (27.0, -2.0), (7.0, 17.0), -0.30, signals.deep);
            lump(side, (33.0, -2.0), (1.4, 15.0), -0.22, signals.white);
            lump(side, (36.5, -3.0), (2.2, 21.0), -0.18, signals.grey);
            lump(side, (10.5, 12.0), (9.0, 14.0), 0.42, signals.deep * 1.02);
            lump(side, (13.0, -20.0), (5.5, 10.0), -0.35, signals.deep * 0.98);
        }
        lump(1.0, (0.0, 8.0), (2.0, 13.0), 0.0, signals.water);
    }
    for side in [-1.0, 1.0] {
        let wide = if z < 22.0 { 4.2 } else { 6.5 * open };
        lump(side, (8.0, -20.0), (wide, 15.0 * open), -0.34, signals.water);
        if z > 16.0 {
            lump(side, (11.0, 6.0), (wide * 0.9, 26.0 * open), -0.12, signals.water);
        }
        lump(side, (18.0, 36.0), (wide * 1.15, 15.0 * open), -0.36, signals.water);
    }
    if z < 34.0 {
        lump(1.0, (0.0, -16.0), (1.1, 14.0), 0.0, signals.white);
        lump(1.0, (0.0, -33.0), (11.0 * open, 4.0), 0.0, signals.white);
        lump(1.0, (0.0, 33.0), (13.0 * open, 4.5), 0.0, signals.white);
    }
}

/// Cerebellum, brain stem, temporal bone, eyes and the air of the sinuses.
fn base(canvas: &mut Canvas, signals: &Signals, z: f32) {
    let low = ((-8.0 - z) / 12.0).clamp(0.0, 1.0);
    let mut lump = |at: Point, radii: Point, turn: f32, value: f32| {
        canvas.fill(&Outline::ellipse(at, radii).turned(turn).points(), |_| value);
    };
    for side in [-1.0, 1.0] {
        lump((side * 42.0, 14.0), (30.0 * low, 7.0 * low), side * -0.35, signals.bone);
        lump((side * 46.0, 17.0), (17.0 * low, 3.0 * low), side * -0.35, signals.marrow * 0.5);
    }
    lump((0.0, 43.0), (48.0 * low + 6.0, 32.0 * low + 4.0), 0.0, signals.water);
    lump((0.0, 43.0), (46.0 * low + 5.0, 30.0 * low + 4.0), 0.0, signals.grey);
    // The leaves of the cerebellum lie around its white matter like the rings of an onion.
    for leaf in 0..7 {
        let part = 0.90 - leaf as f32 * 0.085;
        let value = if leaf % 2 == 0 {
            signals.grey * 0.8 + signals.white * 0.2
        } else {
            signals.grey * 0.9 + signals.water * 0.1
        };
        for side in [-1.0, 1.0] {
            lump((side * 21.0, 44.0), (23.0 * part * low, 27.0 * part * low), side * 0.3, value);
        }
    }
    for side in [-1.0, 1.0] {
        lump((side * 20.0, 42.0), (8.5 * low, 14.0 * low), side * 0.5, signals.white);
    }
    lump((0.0, 47.0), (5.0 * low, 22.0 * low), 0.0, signals.grey);
    lump((0.0, 6.0), (17.0, 14.5), 0.0, signals.water);
    lump((0.0, 8.0), (14.0, 12.0), 0.0, signals.white * 0.94);
    lump((0.0, 22.0), (6.0, 3.4), 0.0, signals.water);
    lump((0.0, -1.0), (2.2, 2.2), 0.0, 20.0);
    let air = ((-14.0 - z) / 8.0).clamp(0.0, 1.0);
    if air > 0.0 {
        lump((0.0, -84.0), (10.0 * air, 15.0 * air), 0.0, signals.fat * 0.8);
        lump((0.0, -58.0), (15.0 * air, 24.0 * air), 0.0, signals.bone);
        for side in [-1.0, 1.0] {
            lump((side * 6.5, -60.0), (4.6 * air, 19.0 * air), 0.0, 8.0);
            lump((side * 32.0, -53.0), (20.0 * air, 21.0 * air), side * 0.35, signals.bone);
            lump((side * 32.0, -53.0), (18.2 * air, 19.2 * air), side * 0.35, signals.fat * 0.92);
            lump((side * 31.0, -42.0), (2.0 * air, 10.0 * air), side * 0.30, signals.white * 0.8);
            lump((side * 42.0, -46.0), (2.2 * air, 11.0 * air), side * -0.15, signals.muscle);
            lump((side * 32.0, -61.0), (12.0 * air, 12.0 * air), 0.0, signals.bone * 3.0);
            lump((side * 32.0, -61.0), (11.2 * air, 11.2 * air), 0.0, signals.water * 0.96);
            lump((side * 32.0, -68.5), (4.4 * air, 2.0 * air), 0.0, signals.bone * 3.0);
        }
    }
}

/// The cleft between the hemispheres, with the big vein behind.
fn falx(canvas: &mut Canvas, signals: &Signals, deep: f32, z: f32) {
    if z < -6.0 {
        return;
    }
    let whole = z > 42.0;
    let pieces: &[(f32, f32)] = if whole { &[(-1.0, 1.0)] } else { &[(-1.0, -0.47), (0.50, 1.0)] };
    for (from, to) in pieces {
        let at = (0.0, deep * (from + to) / 2.0);
        let long = deep * (to - from) / 2.0 + 1.0;
        let cleft = Outline::ellipse(at, (2.1, long)).wavy(&[(7.0, 0.05, 0.0)]).points();
        canvas.fill(&cleft, |_| signals.water);
        canvas.fill(&Outline::ellipse(at, (0.7, long)).points(), |_| signals.bone * 3.0);
    }
    canvas.disc((0.0, deep - 1.0), 3.4, |_| signals.bone * 2.0);
}

/// The coil sees what is near it a little brighter.
fn shade(canvas: &mut Canvas) {
    for row in 0..EDGE {
        for column in 0..EDGE {
            let (x, y) = canvas.place(column, row);
            let factor = 0.94 + 0.0000105 * (x * x + y * y) + 0.0006 * y;
            canvas.pixels[row * EDGE + column] *= factor;
        }
    }
}
