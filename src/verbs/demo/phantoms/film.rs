//! Shadows of the thorax: the chest film from behind and from the side, and the CT's localizers.
//!
//! What a detector sees is the path of the rays through the body in millimetres of water, less
//! what is air; here it is put together from the chords of simple bodies.

use super::canvas::{Canvas, Outline, Point, mixed};
use super::thorax::{BOTTOM, CARINA, Stuff, Thorax};

/// Which way the rays go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Through the chest from behind; the patient's left is on the right.
    Front,
    /// From the right to the left side; the breastbone is on the left.
    Side,
}

/// Share of a lung's depth that is air.
const AIR: f32 = 0.80;

/// A film of `width` by `height` pixels as little-endian words of 12 bits, `spacing` millimetres
/// apart, its first row at `top`.
pub(super) fn film(
    thorax: &Thorax,
    view: View,
    size: (usize, usize),
    spacing: f32,
    top: f32,
    salt: u64,
) -> Vec<u8> {
    let mut canvas = Canvas::new(size.0, size.1, spacing, top, 0.0);
    for row in 0..size.1 {
        for column in 0..size.0 {
            let (u, z) = canvas.place(column, row);
            let path = match view {
                View::Front => front(thorax, u, z),
                View::Side => side(thorax, u, z),
            };
            canvas.pixels[row * size.0 + column] = path;
        }
    }
    shadows(&mut canvas, thorax, view);
    marker(&mut canvas, view, top);
    for pixel in &mut canvas.pixels {
        // The film's curve: steep in the lungs, flat where nearly nothing comes through.
        *pixel = 4095.0 * (1.0 - (-pixel.max(0.0) / 125.0).exp()).powf(1.55);
    }
    canvas.blur(3.0);
    canvas.words(16.0, 0.0, 4095.0, mixed(salt))
}

/// Half the chord through a ball or tube of radius 1 at a distance from its middle.
fn chord(far: f32) -> f32 {
    (1.0 - far * far).max(0.0).sqrt()
}

/// From 0 to 1 while `value` goes from `from` to `to`.
fn ramp(value: f32, from: f32, to: f32) -> f32 {
    let part = ((value - from) / (to - from)).clamp(0.0, 1.0);
    part * part * (3.0 - 2.0 * part)
}

/// Chord of a turned ellipse with half axes `radii`.
fn oval(at: Point, middle: Point, radii: Point, turn: f32) -> f32 {
    let (sine, cosine) = turn.sin_cos();
    let (x, y) = (at.0 - middle.0, at.1 - middle.1);
    let (along, across) = ((x * cosine + y * sine) / radii.0, (y * cosine - x * sine) / radii.1);
    (1.0 - along * along - across * across).max(0.0).sqrt()
}

/// The path of a ray through the chest from behind.
fn front(thorax: &Thorax, x: f32, z: f32) -> f32 {
    let neck = ramp(z, -62.0, 6.0);
    let half = 54.0 + neck * (128.0 - 20.0 * ramp(z, 30.0, 130.0));
    let deep = 95.0 + 70.0 * ramp(z, -60.0, 60.0) + 22.0 * ramp(z, 200.0, 300.0);
    let mut path = deep * chord(x / half).powf(0.75);
    let (wide, lung_deep) = thorax.cavity(z);
    let wide = wide - 2.0;
    if z > -6.0 && x.abs() < wide {
        let rise = chord((z.min(40.0) - 40.0) / 46.0);
        let air = 2.0 * 0.86 * lung_deep * chord(x / wide).powf(0.8) * rise * over_dome(x, z);
        path -= AIR * (air - solid(x, z)).max(0.0);
    }
    path -= 15.0 * chord((x + 2.0 + 0.02 * z) / 8.5) * (1.0 - ramp(z, CARINA - 6.0, CARINA + 8.0));
    for side in [-1.0, 1.0] {
        let down = z - CARINA;
        if (0.0..46.0).contains(&down) {
            let slant = if side < 0.0 { 0.55 } else { 0.85 };
            path -= 8.0 * chord((x + 3.0 - side * slant * down) / 6.5) * (1.0 - down / 46.0);
        }
    }
    // Gas in the stomach below the left dome.
    path -= 40.0 * oval((x, z), (66.0, 277.0), (30.0, 15.0), -0.2);
    path + column_of_spine(x, z)
}

/// How much of the lung's depth is left above, and behind, the domes of the diaphragm.
fn over_dome(x: f32, z: f32) -> f32 {
    let dome = if x < 4.0 {
        240.0 + 0.0095 * (x + 50.0) * (x + 50.0)
    } else {
        252.0 + 0.0100 * (x - 54.0) * (x - 54.0)
    };
    if z < dome {
        1.0 - 0.22 * ramp(z, dome - 26.0, dome)
    } else {
        0.20 * (1.0 - ramp(z, dome, dome + 34.0))
    }
}

/// What lies between the lungs, in millimetres of depth that no air fills.
fn solid(x: f32, z: f32) -> f32 {
    let waist = 23.0 + 9.0 * ramp(z, 70.0, 125.0) - 6.0 * ramp(z, 125.0, 170.0)
        + 12.0 * ramp(z, 210.0, 280.0)
        + 10.0 * (1.0 - ramp(z, 0.0, 40.0));
    let between = 150.0 * chord((x - 3.0 + 0.03 * z) / waist);
    let heart = 92.0 * oval((x, z), (24.0, 194.0), (70.0, 50.0), 0.62).powf(0.8);
    let knob = 60.0 * oval((x, z), (24.0, 82.0), (17.0, 17.0), 0.0);
    let aorta = 26.0 * chord((x - 20.0) / 13.0) * ramp(z, 80.0, 100.0);
    let trunk = 46.0 * oval((x, z), (27.0, 122.0), (17.0, 22.0), 0.2);
    between + heart + knob + aorta + trunk
}

/// Vertebrae with their arches, and the discs between them.
fn column_of_spine(x: f32, z: f32) -> f32 {
    let step = (z + 40.0).rem_euclid(25.0);
    let disc = 1.0 - 0.5 * (1.0 - ramp((step - 2.5).abs(), 1.5, 4.0));
    let body = 20.0 * chord((x / 18.5).powi(3)) * disc;
    let spinous = 7.0 * oval((x, step), (0.0, 20.0), (4.0, 7.0), 0.0);
    let pedicles: f32 = [-1.0, 1.0]
        .iter()
        .map(|side| 7.0 * oval((x, step), (side * 12.0, 12.0), (4.0, 5.0), 0.0))
        .sum();
    let wings = 6.0 * oval((x.abs(), step), (26.0, 11.0), (13.0, 4.0), 0.0);
    body + spinous + pedicles + wings
}

/// The path of a ray through the chest from the side; y grows to the back.
fn side(thorax: &Thorax, y: f32, z: f32) -> f32 {
    let (_, lung_deep) = thorax.cavity(z);
    let neck = ramp(z, -66.0, 14.0);
    let half = 50.0 + neck * 56.0 + 8.0 * ramp(z, 200.0, 300.0);
    let middle = 16.0 * (1.0 - neck) + 4.0;
    let width = 118.0 + 150.0 * ramp(z, -60.0, 30.0);
    let mut path = width * chord((y - middle) / half).powf(0.8);
    let rise = chord((z.min(50.0) - 50.0) / 56.0);
    if z > -6.0 {
        let dome = 236.0 + 0.0085 * (y + 28.0) * (y + 28.0) - 6.0;
        let over = if z < dome { 1.0 - 0.2 * ramp(z, dome - 22.0, dome) } else { 0.0 };
        let second = if z < dome + 10.0 { 0.16 } else { 0.0 };
        let lung = 210.0 * chord((y - 2.0) / lung_deep).powf(0.7) * rise * (over + second).min(1.0);
        let heart = 120.0 * oval((y, z), (-26.0, 196.0), (48.0, 52.0), -0.35).powf(0.8);
        let vessels = 62.0 * oval((y, z), (0.0, 124.0), (24.0, 26.0), 0.0);
        let arch = 46.0 * oval((y, z), (8.0, 88.0), (30.0, 17.0), -0.3);
        path -= AIR * (lung - heart - vessels - arch - 60.0 * ramp(y, 44.0, 70.0)).max(0.0);
    }
    path -= 15.0 * chord((y - 6.0 - 0.06 * z) / 8.5) * (1.0 - ramp(z, CARINA, CARINA + 10.0));
    let step = (z + 40.0).rem_euclid(25.0);
    let disc = 1.0 - 0.75 * (1.0 - ramp((step - 2.5).abs(), 1.5, 3.6));
    let bend = 12.0 * ((z - 140.0) / 150.0).powi(2);
    path += 38.0 * chord(((y - 62.0 + bend) / 17.0).powi(3)) * disc;
    path += 16.0 * oval((y, step), (96.0 - bend, 17.0), (16.0, 5.0), 0.25);
    path + 22.0
        * chord((y + lung_deep + 5.0) / 5.5)
        * ramp(z, 36.0, 46.0)
        * (1.0 - ramp(z, 190.0, 206.0))
}

/// Ribs, vessels, collar bones and shoulder blades, laid over the paths.
fn shadows(canvas: &mut Canvas, thorax: &Thorax, view: View) {
    let across = |x: f32, y: f32| match view {
        View::Front => x,
        View::Side => y,
    };
    let weight = if view == View::Front { 0.30 } else { 0.17 };
    let mut before = (f32::MAX, f32::MAX);
    for (ball, stuff) in &thorax.ribs {
        let at = (across(ball.x, ball.y), ball.z);
        let step = (at.0 - before.0).hypot(at.1 - before.1);
        before = at;
        // Where a rib runs along the ray its balls lie on top of each other.
        if *stuff == Stuff::Bone && step < 5.0 {
            let weight = weight * (0.45 + 0.65 * step);
            canvas.shadow(at, ball.radius, weight);
            canvas.shadow(at, ball.radius - 1.4, -0.55 * weight);
        }
    }
    for ball in thorax.vessels.iter().filter(|ball| ball.z < BOTTOM - 25.0) {
        canvas.shadow((across(ball.x, ball.y), ball.z), ball.radius * 1.1, 0.36);
    }
    let nodule = thorax.nodule;
    canvas.shadow((across(nodule.x, nodule.y), nodule.z), nodule.radius, 3.0);
    if view == View::Side {
        return;
    }
    for side in [-1.0, 1.0] {
        for step in 0..260 {
            let part = step as f32 / 259.0;
            let bend = 9.0 * (part * 5.4).sin();
            let at = (side * (20.0 + 132.0 * part), 34.0 - 44.0 * part + bend);
            let radius = 6.8 - 1.4 * (part * std::f32::consts::PI).sin();
            canvas.shadow(at, radius, 0.42);
            canvas.shadow(at, radius - 1.6, -0.22);
        }
        blade(canvas, side);
    }
}

/// A shoulder blade: a thin plate with a thick outer edge, and the head of the arm beside it.
fn blade(canvas: &mut Canvas, side: f32) {
    let plate: Vec<Point> =
        [(104.0, 16.0), (150.0, 6.0), (158.0, 44.0), (128.0, 142.0), (116.0, 138.0)]
            .iter()
            .map(|(x, z)| (side * x, *z))
            .collect();
    canvas.fill(&plate, |old| old + 5.0);
    for step in 0..140 {
        let part = step as f32 / 139.0;
        let at = (side * (156.0 - 32.0 * part), 40.0 + 102.0 * part);
        canvas.shadow(at, 4.0, 0.55);
    }
    let head = Outline::ellipse((side * 172.0, 26.0), (23.0, 26.0)).points();
    canvas.fill(&head, |old| old + 34.0);
}

/// The lead letter that tells the sides apart: L beside the left shoulder.
fn marker(canvas: &mut Canvas, view: View, top: f32) {
    let left = if view == View::Front { 142.0 } else { 120.0 };
    let bar = |x: f32, z: f32, wide: f32, tall: f32| {
        [(x, z), (x + wide, z), (x + wide, z + tall), (x, z + tall)]
    };
    canvas.fill(&bar(left, top + 20.0, 3.4, 18.0), |_| 900.0);
    canvas.fill(&bar(left, top + 35.0, 11.0, 3.4), |_| 900.0);
}
