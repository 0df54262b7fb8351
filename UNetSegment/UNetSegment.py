"""The module as Slicer sees it: thin shells around ``UNetSegmentLib``, which is imported when it is needed."""

import importlib.util
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("unetseg") is None:
    # In the source tree; an installed extension has the package beside this file.
    sys.path.append(str(Path(__file__).resolve().parents[1] / "trainer"))


class UNetSegment(ScriptedLoadableModule):
    """What Slicer's list of modules shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("UNetSegment")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SegmentEditor", "Segmentations", "Plots", "Markups"]
        parent.contributors = ["UNetSegment maintainers"]
        parent.helpText = _(
            "Segment a volume with a U-Net, correct a few slices, and let the network learn from them."
            ' More in the <a href="https://github.com/UNetSegment/SlicerUNetSegment#readme">documentation</a>.'
        )
        parent.acknowledgementText = _("Not a medical device; for research only.")
        slicer.app.connect("startupCompleted()", offerSampleData)


def offerSampleData():
    """Register the sample data where the application has a Sample Data module."""
    try:
        import SampleData  # noqa: F401
    except ModuleNotFoundError:
        return
    from UNetSegmentLib.sample_data import registerSampleData

    registerSampleData()


class UNetSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Tells the panel when the module is opened, left and unloaded, and when the scene is another."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        """The module is opened for the first time, or reloaded; then it may be entered already."""
        ScriptedLoadableModuleWidget.setup(self)
        from UNetSegmentLib.panel import Panel

        self.logic = UNetSegmentLogic()
        self.panel = Panel(self.layout, self.logic.segmentation, self.resourcePath)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        if self.parent.isEntered:
            self.enter()
        else:
            self.initializeParameterNode()

    def enter(self):
        """The module is opened."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        """Another module is opened; work on its way goes on."""
        self.panel.exit()

    def cleanup(self):
        """The module is unloaded or reloaded, or the application ends."""
        self.removeObservers()
        # Where setup has failed, Slicer still unloads what there is.
        if self.panel is not None:
            self.panel.close()
        if self.logic is not None:
            self.logic.segmentation.close()

    def onSceneStartClose(self, caller, event):
        """No node may be used any more."""
        self.panel.releaseScene()

    def onSceneChanged(self, caller, event):
        """The scene is empty, or another was added to it. A module that is not shown looks when it is opened."""
        if self.parent.isEntered:
            self.enter()

    def initializeParameterNode(self):
        """Follow the parameter node of the scene; a volume that is shown is chosen to save a few clicks."""
        parameters = self.logic.getParameterNode()
        if parameters.volume is None:
            parameters.volume = _shownVolume()
        self.panel.setParameters(parameters)


def _shownVolume():
    """The scalar volume shown last, else the first one, else None. Label maps are not meant."""
    activeID = slicer.app.applicationLogic().GetSelectionNode().GetActiveVolumeID()
    shown = slicer.mrmlScene.GetNodeByID(activeID) if activeID else None
    volumes = [shown, *slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    scalar = (node for node in volumes if node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode")
    return next(scalar, None)


class UNetSegmentLogic(ScriptedLoadableModuleLogic):
    """``segmentation`` does the work; this class keeps its parameters in the scene."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        from UNetSegmentLib.logic import SegmentationLogic

        self.segmentation = SegmentationLogic()

    def getParameterNode(self):
        """The user's choices, saved with the scene."""
        from UNetSegmentLib.parameters import Parameters

        return Parameters(super().getParameterNode())


def __getattr__(name):
    """The self test is imported when it is asked for, because Slicer reads this file at every start."""
    if name != "UNetSegmentTest":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from UNetSegmentLib.self_test import UNetSegmentTest

    return UNetSegmentTest


def __dir__():
    """What unittest goes through to find test cases."""
    return [*globals(), "UNetSegmentTest"]
