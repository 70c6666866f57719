//! A picture in millimetres: outlines are filled, discs and shadows laid on, noise added.
//!
//! Values are whatever the picture is made of (Hounsfield units, signal, millimetres of water);
//! they become stored pixel values at the very end. Pure; the same calls give the same pixels.

use std::f32::consts::TAU;
use std::sync::OnceLock;

/// Pixels along the edge of the tiles of noise; a power of two, so that wrapping is a mask.
const TILE: usize = 512;

/// A point of the picture, in millimetres.
pub(super) type Point = (f32, f32);

/// Rows of square pixels with a place in the body.
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    /// Millimetres between pixel centres.
    pub spacing: f32,
    left: f32,
    top: f32,
    pub pixels: Vec<f32>,
}

impl Canvas {
    /// A picture whose middle column lies at 0 and whose first row lies at `top` millimetres.
    pub fn new(width: usize, height: usize, spacing: f32, top: f32, value: f32) -> Canvas {
        let left = -0.5 * spacing * (width as f32 - 1.0);
        Canvas { width, height, spacing, left, top, pixels: vec![value; width * height] }
    }

    /// A square picture with its middle at (0, 0).
    pub fn square(edge: usize, spacing: f32, value: f32) -> Canvas {
        Canvas::new(edge, edge, spacing, -0.5 * spacing * (edge as f32 - 1.0), value)
    }

    /// The place of a pixel.
    pub fn place(&self, column: usize, row: usize) -> Point {
        (self.left + self.spacing * column as f32, self.top + self.spacing * row as f32)
    }

    /// Paints what lies inside an outline; pixels cut by it on the left and right are mixed.
    pub fn fill(&mut self, outline: &[Point], paint: impl Fn(f32) -> f32) {
        let ys = outline.iter().map(|point| point.1);
        let first = (ys.clone().fold(f32::MAX, f32::min) - self.top) / self.spacing;
        let last = (ys.fold(f32::MIN, f32::max) - self.top) / self.spacing;
        let last = (last.floor() as isize).min(self.height as isize - 1);
        let mut crossings: Vec<f32> = Vec::new();
        for row in (first.ceil().max(0.0) as isize)..=last {
            let y = self.top + self.spacing * row as f32;
            crossings.clear();
            let ends = outline.iter().zip(outline.iter().cycle().skip(1));
            for (&(x0, y0), &(x1, y1)) in ends {
                if (y0 <= y) != (y1 <= y) {
                    crossings
                        .push((x0 + (x1 - x0) * (y - y0) / (y1 - y0) - self.left) / self.spacing);
                }
            }
            crossings.sort_by(f32::total_cmp);
            for pair in crossings.chunks_exact(2) {
                self.span(row as usize, pair[0], pair[1], &paint);
            }
        }
    }

    /// Paints the pixels of a row between two columns, the cut ones in part.
    fn span(&mut self, row: usize, from: f32, to: f32, paint: &impl Fn(f32) -> f32) {
        let first = (from.round().max(0.0) as usize).min(self.width);
        let end = (to.round() + 1.0).clamp(0.0, self.width as f32) as usize;
        let line = &mut self.pixels[row * self.width..(row + 1) * self.width];
        for (column, pixel) in line.iter_mut().enumerate().take(end).skip(first) {
            let middle = column as f32;
            let part = ((middle + 0.5).min(to) - (middle - 0.5).max(from)).clamp(0.0, 1.0);
            *pixel += part * (paint(*pixel) - *pixel);
        }
    }

    /// Calls `each` for every pixel within `reach` millimetres of a point, with the distance.
    fn around(&mut self, at: Point, reach: f32, mut each: impl FnMut(&mut f32, f32)) {
        let (x, y) = ((at.0 - self.left) / self.spacing, (at.1 - self.top) / self.spacing);
        let cells = reach / self.spacing;
        let span = |middle: f32, end: usize| {
            let from = (middle - cells).ceil().clamp(0.0, end as f32) as usize;
            let to = ((middle + cells).floor() + 1.0).clamp(0.0, end as f32) as usize;
            from..to
        };
        for row in span(y, self.height) {
            for column in span(x, self.width) {
                let (right, down) = (column as f32 - x, row as f32 - y);
                let distance = (right * right + down * down).sqrt() * self.spacing;
                if distance < reach {
                    each(&mut self.pixels[row * self.width + column], distance);
                }
            }
        }
    }

    /// Paints a disc with a soft edge of one pixel.
    pub fn disc(&mut self, at: Point, radius: f32, paint: impl Fn(f32) -> f32) {
        let spacing = self.spacing;
        self.around(at, radius + 0.5 * spacing, |pixel, distance| {
            let part = ((radius - distance) / spacing + 0.5).clamp(0.0, 1.0);
            *pixel += part * (paint(*pixel) - *pixel);
        });
    }

    /// Adds the shadow of a ball: `weight` times the half of the chord through it.
    pub fn shadow(&mut self, at: Point, radius: f32, weight: f32) {
        self.around(at, radius, |pixel, distance| {
            *pixel += weight * (radius * radius - distance * distance).max(0.0).sqrt();
        });
    }

    /// Smooths with (1, `middle`, 1) along rows and columns.
    pub fn blur(&mut self, middle: f32) {
        let (width, height) = (self.width, self.height);
        let sum = middle + 2.0;
        for line in self.pixels.chunks_exact_mut(width) {
            let mut before = line[0];
            for column in 0..width - 1 {
                let here = line[column];
                line[column] = (before + middle * here + line[column + 1]) / sum;
                before = here;
            }
        }
        let mut before = self.pixels[..width].to_vec();
        for row in 0..height - 1 {
            let (upper, lower) = self.pixels.split_at_mut((row + 1) * width);
            let line = &mut upper[row * width..];
            for ((pixel, above), below) in line.iter_mut().zip(&mut before).zip(&lower[..width]) {
                let here = *pixel;
                *pixel = (*above + middle * here + below) / sum;
                *above = here;
            }
        }
    }

    /// Little-endian words of every pixel, with noise of `sigma` and rounded into `0..=most`.
    pub fn words(&self, sigma: f32, offset: f32, most: f32, salt: u64) -> Vec<u8> {
        let grain = Grain::shared();
        let (right, down) = (salt as usize % TILE, (salt >> 20) as usize % TILE);
        let mut bytes = Vec::with_capacity(self.pixels.len() * 2);
        for (row, line) in self.pixels.chunks_exact(self.width).enumerate() {
            let tile = &grain.0[((row + down) % TILE) * TILE..][..TILE];
            for (column, pixel) in line.iter().enumerate() {
                let noise = tile[(column + right) % TILE];
                let value = (pixel + sigma * noise + offset + 0.5).clamp(0.0, most);
                bytes.extend_from_slice(&(value as u16).to_le_bytes());
            }
        }
        bytes
    }
}

/// A closed outline: an ellipse, turned, with waves around it.
pub(super) struct Outline {
    pub at: Point,
    pub radii: Point,
    /// Radians, clockwise on the picture.
    pub turn: f32,
    /// Waves around the outline: how many, how high as a part of the radius, where they begin.
    pub waves: &'static [(f32, f32, f32)],
}

impl Outline {
    /// An ellipse.
    pub fn ellipse(at: Point, radii: Point) -> Outline {
        Outline { at, radii, turn: 0.0, waves: &[] }
    }

    /// The same with waves.
    pub fn wavy(self, waves: &'static [(f32, f32, f32)]) -> Outline {
        Outline { waves, ..self }
    }

    /// The same turned.
    pub fn turned(self, turn: f32) -> Outline {
        Outline { turn, ..self }
    }

    /// Its corners, close enough to each other to look round.
    pub fn points(&self) -> Vec<Point> {
        let corners = ((self.radii.0 + self.radii.1) as usize).clamp(16, 160);
        let (sine, cosine) = self.turn.sin_cos();
        (0..corners)
            .map(|corner| {
                let angle = TAU * corner as f32 / corners as f32;
                let waves = self
                    .waves
                    .iter()
                    .map(|(count, part, start)| part * (count * angle + start).cos());
                let far = 1.0 + waves.sum::<f32>();
                let (x, y) = (self.radii.0 * far * angle.cos(), self.radii.1 * far * angle.sin());
                (self.at.0 + x * cosine - y * sine, self.at.1 + x * sine + y * cosine)
            })
            .collect()
    }
}

/// A tile of noise with mean 0 and deviation 1, lightly correlated as a scanner's is.
struct Grain(Vec<f32>);

impl Grain {
    fn shared() -> &'static Grain {
        static GRAIN: OnceLock<Grain> = OnceLock::new();
        GRAIN.get_or_init(|| {
            let mut dice = Dice::new(0x6772_6169_6e21);
            let white: Vec<f32> = (0..TILE * TILE).map(|_| dice.gauss()).collect();
            let at = |row: usize, column: usize| white[(row % TILE) * TILE + column % TILE];
            let mut tile = Vec::with_capacity(TILE * TILE);
            for row in 0..TILE {
                for column in 0..TILE {
                    let near = at(row + 1, column)
                        + at(row, column + 1)
                        + at(row + TILE - 1, column)
                        + at(row, column + TILE - 1);
                    // 1 / sqrt(1 + 4 * 0.4 * 0.4): the deviation stays 1.
                    tile.push(0.781 * (at(row, column) + 0.4 * near));
                }
            }
            Grain(tile)
        })
    }
}

/// Numbers that look thrown and are the same on every run (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// From 0 up to, not including, 1.
    pub fn part(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Between two numbers.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.part()
    }

    /// About normal, mean 0, deviation 1: the sum of twelve even throws less six.
    fn gauss(&mut self) -> f32 {
        (0..12).map(|_| self.part()).sum::<f32>() - 6.0
    }
}

/// Spreads the bits of a number.
pub(super) fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Smooth noise between -1 and 1 in three dimensions, cells of length 1.
pub(super) fn smooth(x: f32, y: f32, z: f32, salt: u64) -> f32 {
    let floors = (x.floor(), y.floor(), z.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v, w) = (ease(x - floors.0), ease(y - floors.1), ease(z - floors.2));
    let corner = |dx: i32, dy: i32, dz: i32| {
        let cell = ((floors.0 as i32 + dx) as u32 as u64)
            .wrapping_mul(0x9e37_79b1)
            .wrapping_add(((floors.1 as i32 + dy) as u32 as u64).wrapping_mul(0x85eb_ca77))
            .wrapping_add(((floors.2 as i32 + dz) as u32 as u64).wrapping_mul(0xc2b2_ae3d));
        (mixed(cell ^ salt) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let plane = |dz: i32| {
        let near = mix(corner(0, 0, dz), corner(1, 0, dz), u);
        mix(near, mix(corner(0, 1, dz), corner(1, 1, dz), u), v)
    };
    mix(plane(0), plane(1), w)
}
