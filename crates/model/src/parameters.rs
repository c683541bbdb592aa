//! One way to walk over a model's parameters: flat, each with its path, always in the same order.
//!
//! The order is that of the fields in the model's structs, which Burn's derived `Module` follows,
//! so two models of one configuration can be walked side by side.

use std::fmt;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// How Burn's visitors call the struct `Linear` when they enter one: its container names are
/// `Struct:` and the type's bare name.
const LINEAR: &str = "Struct:Linear";

/// Where a parameter is in a model: the names of the fields and indices that lead to it. Displays
/// as they are joined by dots, `encoder.layers.3.query.weight`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParameterPath {
    names: Vec<String>,
    shape: Vec<usize>,
    in_linear: bool,
}

impl ParameterPath {
    /// The names from the outermost field to the parameter's own.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The parameter's shape in the model.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether the parameter belongs to an encoder and not to a head on one.
    pub fn is_in_encoder(&self) -> bool {
        self.names.first().is_some_and(|name| name == "encoder")
    }

    /// The index of the encoder layer that the parameter belongs to, counting from the embeddings.
    pub fn layer(&self) -> Option<usize> {
        match &self.names[..] {
            [encoder, layers, index, ..] if encoder == "encoder" && layers == "layers" => {
                index.parse().ok()
            }
            _ => None,
        }
    }

    /// Whether the parameter is a bias or belongs to a layer norm, which weight decay spares.
    pub fn is_bias_or_norm(&self) -> bool {
        let name = self.names.last().map_or("", String::as_str);
        ["bias", "gamma", "beta"].contains(&name)
    }

    /// Whether the parameter is a linear layer's matrix, `[inputs, outputs]`.
    pub fn is_linear_matrix(&self) -> bool {
        self.in_linear && self.shape.len() == 2
    }

    /// Follows a visitor of Burn into a module.
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.in_linear |= container == LINEAR;
    }

    /// Follows a visitor of Burn out of a module.
    pub(crate) fn exit(&mut self, container: &str) {
        self.names.pop();
        self.in_linear &= container != LINEAR;
    }

    /// The path of the parameter of this shape that a visitor of Burn is at.
    pub(crate) fn at(&self, shape: Vec<usize>) -> Self {
        Self {
            shape,
            ..self.clone()
        }
    }
}

impl fmt::Display for ParameterPath {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.names.join("."))
    }
}

/// Returns every parameter's values, flat and without recorded gradients.
pub fn named<M: Module>(model: &M) -> Vec<(ParameterPath, Tensor<1>)> {
    struct Named {
        path: ParameterPath,
        found: Vec<(ParameterPath, Tensor<1>)>,
    }
    impl ModuleVisitor for Named {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val().inner();
            let path = self.path.at(value.dims().to_vec());
            self.found.push((path, flat(value)));
        }
    }
    let mut visitor = Named {
        path: ParameterPath::default(),
        found: Vec::new(),
    };
    model.visit(&mut visitor);
    visitor.found
}

/// Returns every parameter that has a gradient: its path, its values and its gradient, both flat
/// and without recorded gradients.
pub fn with_gradients<M: Module>(
    model: &M,
    gradients: GradientsParams,
) -> Vec<(ParameterPath, Tensor<1>, Tensor<1>)> {
    struct WithGradients {
        path: ParameterPath,
        gradients: GradientsParams,
        found: Vec<(ParameterPath, Tensor<1>, Tensor<1>)>,
    }
    impl ModuleVisitor for WithGradients {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(gradient) = self.gradients.remove::<D>(param.id) else {
                return;
            };
            let value = param.val().inner();
            let path = self.path.at(value.dims().to_vec());
            self.found.push((path, flat(value), flat(gradient)));
        }
    }
    let mut visitor = WithGradients {
        path: ParameterPath::default(),
        gradients,
        found: Vec::new(),
    };
    model.visit(&mut visitor);
    visitor.found
}

/// Returns the model with every parameter replaced by what `change` returns for it.
///
/// `change` takes and returns the values flat and without recorded gradients. Parameters keep their
/// identity, and whether gradients are recorded for them.
pub fn map<M: Module>(model: M, change: impl FnMut(&ParameterPath, Tensor<1>) -> Tensor<1>) -> M {
    struct Map<F> {
        path: ParameterPath,
        change: F,
    }
    impl<F: FnMut(&ParameterPath, Tensor<1>) -> Tensor<1>> ModuleMapper for Map<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| {
                let (shape, records) = (value.shape(), value.is_require_grad());
                let path = self.path.at(shape.to_vec());
                let changed = (self.change)(&path, flat(value.inner())).reshape(shape);
                if records {
                    Tensor::from_inner(changed).require_grad()
                } else {
                    changed
                }
            })
        }
    }
    model.map(&mut Map {
        path: ParameterPath::default(),
        change,
    })
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.shape().num_elements();
    tensor.reshape([count])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{EncoderConfig, EncoderModel, SpanModel};

    fn tiny() -> SpanModel {
        let path = format!(
            "{}/tests/fixtures/tiny-bert/config.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let config = EncoderConfig::read(path.as_ref()).unwrap();
        SpanModel::new(&config, &Device::flex().autodiff())
    }

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn paths_say_what_a_parameter_is() {
        let paths: Vec<ParameterPath> = named(&tiny()).into_iter().map(|(path, _)| path).collect();
        let check = |name: &str, in_encoder, layer, bias_or_norm, matrix| {
            let path = paths.iter().find(|path| path.to_string() == name);
            let path = path.unwrap_or_else(|| panic!("no parameter {name}"));
            assert_eq!(path.is_in_encoder(), in_encoder, "{name}");
            assert_eq!(path.layer(), layer, "{name}");
            assert_eq!(path.is_bias_or_norm(), bias_or_norm, "{name}");
            assert_eq!(path.is_linear_matrix(), matrix, "{name}");
        };
        check("encoder.embeddings.word.weight", true, None, false, false);
        check("encoder.embeddings.norm.gamma", true, None, true, false);
        check("encoder.layers.2.query.weight", true, Some(2), false, true);
        check("encoder.layers.0.output.bias", true, Some(0), true, false);
        check("span_head.weight", false, None, false, true);
        assert_eq!(paths[0].to_string(), "encoder.embeddings.word.weight");
        assert_eq!(paths[0].shape(), [200, 48]);
    }

    #[test]
    fn mapped_models_keep_identity_and_recording() {
        let model = tiny();
        let mapped = map(model.clone(), |_, values| values + 1.0);
        let (old, new) = (&model.span_head.weight, &mapped.span_head.weight);
        assert_eq!(old.id, new.id);
        assert!(new.val().is_require_grad());
        let pairs = named(&model).into_iter().zip(named(&mapped));
        for ((path, before), (same, after)) in pairs {
            assert_eq!(path, same);
            assert_eq!(values(before + 1.0), values(after), "{path}");
        }
    }

    #[test]
    fn only_parameters_with_a_gradient_are_returned() {
        let model = tiny();
        let loss = model.span_head.weight.val().sum().mul_scalar(3.0);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let mut found = with_gradients(&model, gradients);
        let (path, _, gradient) = found.pop().unwrap();
        assert!(found.is_empty());
        assert_eq!(path.to_string(), "span_head.weight");
        assert_eq!(values(gradient), vec![3.0; 96]);
    }
}
