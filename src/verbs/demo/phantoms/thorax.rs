//! The made-up thorax that CT and chest film are pictures of: ribs, vessels, the shape of the
//! chest, in millimetres. x grows to the patient's left, y to the back, z to the feet; z = 0 is
//! the top of the lungs and x = y = 0 the middle of the chest.

use std::f32::consts::PI;

use super::canvas::Dice;

/// z of the lungs' lower end.
pub(super) const BOTTOM: f32 = 290.0;

/// Where the trachea divides, and the height of the hila.
pub(super) const CARINA: f32 = 108.0;

/// Radius of a vessel that is not divided any more.
const VESSEL_RADIUS_MIN: f32 = 0.55;

/// A ball: part of a vessel or of a rib, or a nodule.
#[derive(Clone, Copy)]
pub(super) struct Ball {
    pub x: f32,
    pub y: f32,
    pub z: f32,
    pub radius: f32,
}

/// One patient's chest.
pub(super) struct Thorax {
    /// Balls along the vessels of both lungs.
    pub vessels: Vec<Ball>,
    /// Balls along every rib; the last fifth of the upper ten is cartilage.
    pub ribs: Vec<(Ball, Stuff)>,
    /// A nodule in the right upper lobe, as screening finds them.
    pub nodule: Ball,
    /// Relative size of the chest.
    pub size: f32,
}

/// What a part of a rib is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuff {
    Bone,
    Cartilage,
}

impl Thorax {
    /// The chest that belongs to a seed.
    pub fn new(seed: u64) -> Thorax {
        let mut dice = Dice::new(seed);
        let size = dice.between(0.95, 1.04);
        let nodule = Ball {
            x: dice.between(-85.0, -60.0),
            y: dice.between(-25.0, 15.0),
            z: dice.between(55.0, 85.0),
            radius: dice.between(4.0, 7.0),
        };
        let mut thorax = Thorax { vessels: Vec::new(), ribs: Vec::new(), nodule, size };
        for side in [-1.0, 1.0] {
            thorax.grow_vessels(side, &mut dice);
            for rib in 0..12 {
                thorax.grow_rib(side, rib as f32);
            }
        }
        thorax
    }

    /// Half width and half depth of the space inside the ribs.
    pub fn cavity(&self, z: f32) -> (f32, f32) {
        let rise = ((100.0 - z) / 112.0).clamp(0.0, 1.0);
        let part = (1.0 - rise * rise).sqrt();
        (self.size * (26.0 + 96.0 * part + z * 0.02), self.size * (22.0 + 60.0 * part + z * 0.03))
    }

    /// Half width and half depth of the body.
    pub fn body(&self, z: f32) -> (f32, f32) {
        let shoulder = ((70.0 - z) / 90.0).clamp(0.0, 1.0);
        (self.size * (154.0 + 8.0 * shoulder), self.size * (110.0 - 12.0 * shoulder))
    }

    /// A tree of vessels from the hilum: each branch parts in two until it is too thin to see.
    fn grow_vessels(&mut self, side: f32, dice: &mut Dice) {
        let root = Ball { x: side * 34.0, y: 4.0, z: CARINA + 14.0, radius: 5.6 };
        for reach in [
            (0.5, -0.5, -0.95),
            (1.0, -0.4, -0.2),
            (0.9, 0.5, 0.4),
            (0.55, 0.3, 1.0),
            (0.8, -0.6, 0.7),
            (0.5, 0.75, 0.7),
        ] {
            self.branch(root, (side * reach.0, reach.1, reach.2), 34.0, 0, dice);
        }
    }

    fn branch(
        &mut self,
        root: Ball,
        way: (f32, f32, f32),
        length: f32,
        depth: u32,
        dice: &mut Dice,
    ) {
        let norm = (way.0 * way.0 + way.1 * way.1 + way.2 * way.2).sqrt().max(0.1);
        let way = (way.0 / norm, way.1 / norm, way.2 / norm);
        let radius = (root.radius * 0.79).max(VESSEL_RADIUS_MIN);
        let step = (radius * 0.7).max(0.8);
        let mut at = root;
        for walked in 0..(length / step) as u32 {
            let part = walked as f32 * step / length;
            at.x += way.0 * step;
            at.y += way.1 * step + 0.10 * step * (part * PI).cos();
            at.z += way.2 * step;
            at.radius = root.radius + (radius - root.radius) * part;
            let (wide, deep) = self.cavity(at.z);
            let inside = (at.x / (wide - 5.0)).powi(2) + (at.y / (deep - 5.0)).powi(2) < 1.0;
            if !inside || at.z < 4.0 || at.z > BOTTOM {
                return;
            }
            self.vessels.push(at);
        }
        if depth >= 8 {
            return;
        }
        at.radius = radius;
        let mut throw = || dice.between(-1.0, 1.0);
        let aside = (throw(), throw(), throw());
        let along = aside.0 * way.0 + aside.1 * way.1 + aside.2 * way.2;
        let aside = (aside.0 - along * way.0, aside.1 - along * way.1, aside.2 - along * way.2);
        let far = (aside.0 * aside.0 + aside.1 * aside.1 + aside.2 * aside.2).sqrt().max(0.1);
        for side in [1.0, -1.0] {
            let turn = side * dice.between(0.30, 0.95) / far;
            let next = (way.0 + turn * aside.0, way.1 + turn * aside.1, way.2 + turn * aside.2);
            self.branch(at, next, (length * dice.between(0.66, 0.90)).max(8.0), depth + 1, dice);
        }
    }

    /// A rib from the spine round to the front, falling on its way.
    fn grow_rib(&mut self, side: f32, rib: f32) {
        let back = 2.0 + rib * 22.5;
        let fall = (26.0 + rib * 9.0).min(84.0);
        let end = if rib > 9.0 { 0.45 } else { 0.94 };
        let steps = 420;
        for step in 0..=(steps as f32 * end) as u32 {
            let part = step as f32 / steps as f32;
            let z = back + fall * part.powf(1.15) - 7.0 * (part * 2.6 * PI).sin().max(0.0) * 0.4;
            let (wide, deep) = self.cavity(z.max(back * 0.6 + 10.0));
            let angle = 0.14 * PI + part * 0.76 * PI;
            let (sine, cosine) = angle.sin_cos();
            let stuff = if part > 0.76 { Stuff::Cartilage } else { Stuff::Bone };
            let ball = Ball {
                x: side * (wide + 5.0) * sine,
                y: (deep + 5.0) * cosine,
                z,
                radius: 5.6 + 0.8 * (part * PI).sin(),
            };
            self.ribs.push((ball, stuff));
        }
    }
}
