"""Theory: what the Gaussian and mean-field calculations say of an activation, a depth, a whole network.

Nothing here runs a model or holds a tensor; torch is touched only to evaluate a callable that wants tensors.
"""

from fanin.theory._critical import Critical as Critical
from fanin.theory._critical import CriticalLine as CriticalLine
from fanin.theory._critical import critical as critical
from fanin.theory._critical import critical_line as critical_line
from fanin.theory._finite_width import finite_width_spread as finite_width_spread
from fanin.theory._fixed_points import CorrelationPoint as CorrelationPoint
from fanin.theory._fixed_points import DepthScale as DepthScale
from fanin.theory._fixed_points import FixedPoint as FixedPoint
from fanin.theory._fixed_points import depth_scale as depth_scale
from fanin.theory._fixed_points import fixed_points as fixed_points
from fanin.theory._input_flow import array_flow as array_flow
from fanin.theory._jacobian import JacobianSpectrum as JacobianSpectrum
from fanin.theory._jacobian import jacobian_spectrum as jacobian_spectrum
from fanin.theory._jacobian import simulate_jacobian as simulate_jacobian
from fanin.theory._mean_field import chi_par as chi_par
from fanin.theory._mean_field import chi_perp as chi_perp
from fanin.theory._mean_field import correlation_map as correlation_map
from fanin.theory._mean_field import length_map as length_map
from fanin.theory._model import model_moments as model_moments
from fanin.theory._model import predict as predict
from fanin.theory._model import predict_trace as predict_trace
from fanin.theory._moments import GainKind as GainKind
from fanin.theory._moments import Moments as Moments
from fanin.theory._moments import gain as gain
from fanin.theory._moments import moments as moments
from fanin.theory._paired import Paired as Paired
from fanin.theory._paired import paired as paired
from fanin.theory._phase import PhaseDiagram as PhaseDiagram
from fanin.theory._phase import phase_diagram as phase_diagram
from fanin.theory._predict import InputMoments as InputMoments
from fanin.theory._predict import predict_graph as predict_graph
from fanin.theory._recommend import Cost as Cost
from fanin.theory._recommend import Recommendation as Recommendation
from fanin.theory._recommend import recommend as recommend
from fanin.theory._shaping import Shaping as Shaping
from fanin.theory._shaping import dks as dks
from fanin.theory._shaping import tat as tat
from fanin.theory._weight_moments import array_moments as array_moments
from fanin.theory._weight_moments import weight_moments as weight_moments
from fanin.theory.activations import REGISTRY as ACTIVATIONS

__all__ = [
    "ACTIVATIONS",
    "CorrelationPoint",
    "Cost",
    "Critical",
    "CriticalLine",
    "DepthScale",
    "FixedPoint",
    "GainKind",
    "InputMoments",
    "JacobianSpectrum",
    "Moments",
    "Paired",
    "PhaseDiagram",
    "Recommendation",
    "Shaping",
    "array_flow",
    "array_moments",
    "chi_par",
    "chi_perp",
    "correlation_map",
    "critical",
    "critical_line",
    "depth_scale",
    "dks",
    "finite_width_spread",
    "fixed_points",
    "gain",
    "jacobian_spectrum",
    "length_map",
    "model_moments",
    "moments",
    "paired",
    "phase_diagram",
    "predict",
    "predict_graph",
    "predict_trace",
    "recommend",
    "simulate_jacobian",
    "tat",
    "weight_moments",
]
