//! The description of a model's preprocessing.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::resize::Filter;

/// Longest side of anything a specification may ask for, in pixels.
pub const MAX_SIDE: u32 = 4096;

/// What is done to a picture before a network sees it. Plain data, as it stands in a model's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// How the picture is brought to size.
    pub resize: Resize,
    /// The resampling filter.
    pub filter: Filter,
    /// The centred window taken out of the resized picture; all of it if absent.
    pub crop: Option<Crop>,
    /// Colour (R, G, B, before normalisation) of what lies outside of the resized picture.
    pub pad_color: [u8; 3],
    /// Order of the channels in the tensor.
    pub channels: ChannelOrder,
    /// Factor applied to each 0..=255 sample, usually 1/255.
    pub scale: f32,
    /// Subtracted after scaling; one value per channel, in the order of the tensor.
    pub mean: [f32; 3],
    /// Divided by after subtracting; one value per channel, in the order of the tensor; not 0.
    pub std: [f32; 3],
    /// Order of the axes in the tensor.
    pub layout: Layout,
}

impl Default for Preprocess {
    /// 224 × 224 squashed bilinearly, RGB, 0..=1, channels first.
    fn default() -> Self {
        Self {
            resize: Resize::Exact { width: 224, height: 224 },
            filter: Filter::Bilinear,
            crop: None,
            pad_color: [0; 3],
            channels: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            layout: Layout::Nchw,
        }
    }
}

/// How a picture is brought to size. Sides are 1..=4096 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// Not at all; needs a crop.
    None,
    /// To exactly these sides, whatever the aspect ratio.
    Exact {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// So that the shorter side is `size`, aspect ratio kept; needs a crop.
    ShortestEdge {
        /// Length of the shorter side.
        size: u32,
        /// How the longer side is rounded.
        #[serde(default)]
        rounding: Rounding,
    },
    /// So that the longer side is `size`, aspect ratio kept, and padded to a square of `size`.
    LongestEdge {
        /// Length of the longer side.
        size: u32,
        /// How the shorter side is rounded; it is at least 1.
        #[serde(default)]
        rounding: Rounding,
        /// Where in the square the picture lies.
        #[serde(default)]
        align: PadAlign,
    },
}

/// How a side computed from the aspect ratio becomes whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Down, as in torchvision and Hugging Face transformers: `int(size * long / short)`.
    #[default]
    Floor,
    /// To nearest, ties to even, as in timm and letterboxing code: `round(size * long / short)`.
    Nearest,
}

/// Where padding goes when a picture is padded to a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadAlign {
    /// On both sides; an odd pixel goes to the right or bottom.
    #[default]
    Center,
    /// To the right and bottom only.
    TopLeft,
}

/// A centred window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Width in pixels, 1..=4096.
    pub width: u32,
    /// Height in pixels, 1..=4096.
    pub height: u32,
    /// Which way an odd pixel goes.
    #[serde(default)]
    pub align: CropAlign,
}

/// Which way an odd pixel goes in a centre crop, where libraries differ.
///
/// With `excess` = picture − window along one axis, the window starts at `excess / 2`; where the window is larger, the
/// picture starts at `-excess / 2` inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropAlign {
    /// Both rounded down: transformers on its torchvision backend ("fast" image processors).
    #[default]
    Floor,
    /// Crop to nearest, ties to even; padding down: `torchvision.transforms.CenterCrop`.
    HalfEven,
    /// Crop down, padding up: transformers on its NumPy and Pillow backend.
    PadCeil,
}

/// Order of the colour channels in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as in models from Caffe and OpenCV.
    Bgr,
}

impl ChannelOrder {
    /// The sample of an RGB pixel that tensor channel 0, 1 or 2 takes.
    pub(super) fn source(self, channel: usize) -> usize {
        match self {
            Self::Rgb => channel,
            Self::Bgr => 2 - channel,
        }
    }
}

/// Order of the axes in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channels before rows and columns, as in PyTorch.
    #[default]
    Nchw,
    /// Channels last, as in TensorFlow.
    Nhwc,
}

impl Preprocess {
    /// Width and height of the tensor in pixels.
    #[must_use]
    pub fn output_size(&self) -> (u32, u32) {
        match (self.crop, self.resize) {
            (Some(crop), _) => (crop.width, crop.height),
            (None, Resize::Exact { width, height }) => (width, height),
            (None, Resize::LongestEdge { size, .. }) => (size, size),
            // Refused by `validate`.
            (None, Resize::None | Resize::ShortestEdge { .. }) => (0, 0),
        }
    }

    /// Number of elements of one picture's tensor: width × height × 3.
    #[must_use]
    pub fn output_len(&self) -> usize {
        let (width, height) = self.output_size();
        width as usize * height as usize * 3
    }

    /// Checks that the description makes sense.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], naming the field: a side outside of 1..=4096, a `scale`, `mean` or `std` that is not
    /// finite or a `std` of 0, a resize whose result has no fixed size and no crop.
    pub fn validate(&self) -> Result<()> {
        let side = |name: &str, value: u32| {
            if (1..=MAX_SIDE).contains(&value) {
                Ok(())
            } else {
                invalid(format!("{name} is {value}, not 1 to {MAX_SIDE}"))
            }
        };
        match self.resize {
            Resize::None | Resize::ShortestEdge { .. } if self.crop.is_none() => {
                return invalid("a resize to no fixed size needs a crop".into());
            }
            Resize::None => {}
            Resize::Exact { width, height } => {
                side("resize.width", width)?;
                side("resize.height", height)?;
            }
            Resize::ShortestEdge { size, .. } | Resize::LongestEdge { size, .. } => side("resize.size", size)?,
        }
        if let Some(crop) = self.crop {
            side("crop.width", crop.width)?;
            side("crop.height", crop.height)?;
        }
        if !self.scale.is_finite() {
            return invalid(format!("scale is {}", self.scale));
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return invalid(format!("mean contains {mean}"));
        }
        if let Some(std) = self.std.iter().find(|std| !std.is_finite() || **std == 0.0) {
            return invalid(format!("std contains {std}"));
        }
        Ok(())
    }
}

fn invalid(what: String) -> Result<()> {
    Err(Error::InvalidArgument(format!("preprocessing: {what}")))
}
