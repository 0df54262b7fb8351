"""Minimal Slicer application: slicer.app / mrmlScene / modules on top of slicer-core and PySide6, and a module loader."""
import importlib.util, os, sys, types
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
import pqt
qt = pqt.install()
import ctkstub
ctkstub.install()
import vtk, slicer, slicer.util
from PySide6.QtCore import Signal


class ModuleManager(qt.QObject):
    moduleAboutToBeUnloaded = Signal(str)


class qSlicerApplication(qt.QApplication):
    startupCompleted, lastWindowClosed_, mrmlSceneChanged = Signal(), Signal(), Signal(object)

    def __init__(self):
        super().__init__(["SlicerHost"])
        self.setOrganizationName("test"), self.setApplicationName("SlicerHost")
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        self._modules = ModuleManager()
        self.renderPaused = 0
        self.temporaryPath = qt.QDir.tempPath()
        self.majorVersion, self.minorVersion = 5, 13
        self._appLogic = slicer.vtkSlicerApplicationLogic()
        self._scene = slicer.vtkMRMLScene()
        self._appLogic.SetMRMLScene(self._scene)
        dataIO = slicer.vtkDataIOManager()
        dataIO.SetCacheManager(slicer.vtkCacheManager())
        self._scene.SetDataIOManager(dataIO)
        color = self._appLogic.GetColorLogic()
        color.SetMRMLScene(self._scene)
        color.AddDefaultColorNodes()
        self._appLogic.SetModuleLogic("Colors", color)
        self._appLogic.SetSliceLogics(vtk.vtkCollection())
        self._appLogic.SetViewLogics(vtk.vtkCollection())
        self._scene.AddNode(slicer.vtkMRMLCrosshairNode())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self._scene, True)

    def moduleManager(self): return self._modules
    def applicationLogic(self): return self._appLogic
    def mrmlScene(self): return self._scene
    def layoutManager(self): return layoutManager
    def coreIOManager(self): return CoreIOManager()
    ioManager = coreIOManager
    def settings(self): return qt.QSettings()
    userSettings = settings
    def testingEnabled(self): return True
    def commandOptions(self): return types.SimpleNamespace(testingEnabled=True)
    def pauseRender(self): self.renderPaused += 1
    def resumeRender(self): self.renderPaused -= 1
    def translate(self, context, text): return text
    def moduleDocumentationUrl(self, name): return "https://slicer.readthedocs.io/" + name


class CoreIOManager:
    """load/save/export through the real storage nodes and module logics (what slicer.util.load*/saveNode/exportNode need)."""
    TYPES = {"VolumeFile": "vtkMRMLScalarVolumeNode", "SegmentationFile": "vtkMRMLSegmentationNode", "TableFile": "vtkMRMLTableNode",
             "TextFile": "vtkMRMLTextNode", "ModelFile": "vtkMRMLModelNode", "TransformFile": "vtkMRMLTransformNode", "MarkupsFile": "vtkMRMLMarkupsFiducialNode"}

    def fileType(self, filename):
        return "SegmentationFile" if ".seg." in str(filename) else "VolumeFile"

    def loadNodes(self, fileType, properties, loaded=None, messages=None):
        path = properties["fileName"]
        name = properties.get("name") or os.path.basename(path).split(".")[0]
        if fileType == "SceneFile":
            slicer.mrmlScene.SetURL(path)
            return bool(slicer.mrmlScene.Connect() if properties.get("clear", True) else slicer.mrmlScene.Import())
        if fileType == "VolumeFile":
            flags = int(properties.get("labelmap", False)) | 4 * int(properties.get("singleFile", False))
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, flags)
        elif fileType == "SegmentationFile":
            node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        else:
            node = slicer.mrmlScene.AddNewNodeByClass(self.TYPES[fileType], name)
            node.AddDefaultStorageNode(path)
            if not node.GetStorageNode().ReadData(node):
                slicer.mrmlScene.RemoveNode(node)
                node = None
        if node and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def fileWriterFileType(self, node):
        return next((t for t, c in self.TYPES.items() if node.IsA(c)), "NoFile")

    def saveNodes(self, fileType, properties, messages=None):
        path = properties["fileName"]
        if fileType == "SceneFile":
            return bool(slicer.mrmlScene.Commit(path))
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if not node.GetStorageNode():
            node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        node.GetStorageNode().SetUseCompression(int(properties.get("useCompression", 1)))
        return bool(node.GetStorageNode().WriteData(node))

    def fileWriterExtensions(self, node):
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(slicer.mrmlScene)
        types = storage.GetSupportedWriteFileTypes()
        return [types.GetValue(i) for i in range(types.GetNumberOfValues())]

    def extractKnownExtension(self, filename, node):
        known = [slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString(f) for f in self.fileWriterExtensions(node)]
        return max((e for e in known if str(filename).lower().endswith(e.lower())), key=len, default="")

    def exportNodes(self, nodeIDs, fileNames, properties, hardenTransform=False, messages=None):
        for nodeID, path in zip(nodeIDs, fileNames):
            node = slicer.mrmlScene.GetNodeByID(nodeID)
            storage = node.CreateDefaultStorageNode()
            storage.SetFileName(str(path))
            if not storage.WriteData(node):
                return False
        return True


class LayoutManager:
    """Red/Green/Yellow slice logics and one 3D view node; widgets are thin handles, rendering is on demand."""

    def __init__(self, app):
        self.app, self.sliceLogics = app, {}
        for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(app.applicationLogic())
            logic.SetMRMLScene(app.mrmlScene())
            logic.AddSliceNode(name).SetOrientation(orientation)
            app.applicationLogic().GetSliceLogics().AddItem(logic)
            self.sliceLogics[name] = logic
        self.viewLogic = slicer.vtkMRMLViewLogic()
        self.viewLogic.SetMRMLApplicationLogic(app.applicationLogic())
        self.viewLogic.SetMRMLScene(app.mrmlScene())
        self.viewNode = self.viewLogic.AddViewNode("1")
        self.layout = 3
        self._views = {}

    def sliceViewNames(self): return list(self.sliceLogics)
    def mrmlSliceLogics(self): return self.app.applicationLogic().GetSliceLogics()
    def setLayout(self, layout): self.layout = layout
    def sliceWidget(self, name):
        logic = self.sliceLogics[name]
        return types.SimpleNamespace(sliceLogic=lambda: logic, mrmlSliceNode=lambda: logic.GetSliceNode(),
                                     sliceController=lambda: types.SimpleNamespace(fitSliceToBackground=lambda: logic.FitSliceToAll()))
    @property
    def threeDViewCount(self): return 1
    def threeDWidget(self, i):
        return types.SimpleNamespace(threeDView=lambda: types.SimpleNamespace(resetFocalPoint=lambda: None, mrmlViewNode=lambda: self.viewNode),
                                     mrmlViewNode=lambda: self.viewNode)
    def resetSliceViews(self):
        for logic in self.sliceLogics.values():
            logic.FitSliceToAll()
    def resetThreeDViews(self): pass

    def screenshot(self, name, path, size=(400, 400)):
        import views
        if name not in self._views:
            a = self.app.applicationLogic()
            self._views[name] = views.SliceView(a, self.sliceLogics[name], size) if name in self.sliceLogics else views.ThreeDView(a, self.viewNode, size)
        view = self._views[name]
        if name not in self.sliceLogics:
            view.resetCamera()
        image = view.array()
        views.writePng(image, path)
        return image


class qSlicerScriptedLoadableModule:
    def __init__(self, path):
        self.path, self.name = path, os.path.splitext(os.path.basename(path))[0]
        self.hidden, self.widgetRepresentationCreationEnabled = False, True


def start(extraSlicerPath=os.path.join(os.path.dirname(os.path.abspath(__file__)), "standin")):
    """Creates the application and completes the ``slicer`` package of slicer-core. Returns slicer.app."""
    global layoutManager
    if extraSlicerPath:
        slicer.__path__.append(extraSlicerPath)
    slicer.app = qSlicerApplication()
    slicer.mrmlScene = slicer.app.mrmlScene()
    for name in ("modules", "moduleNames"):
        m = types.ModuleType("slicer." + name)
        sys.modules["slicer." + name] = m
        setattr(slicer, name, m)
    for key, cls in dict(segmentations="vtkSlicerSegmentationsModuleLogic", volumes="vtkSlicerVolumesLogic",
                         plots="vtkSlicerPlotsLogic", tables="vtkSlicerTablesLogic", subjecthierarchy="vtkSlicerSubjectHierarchyModuleLogic",
                         markups="vtkSlicerMarkupsLogic", models="vtkSlicerModelsLogic", transforms="vtkSlicerTransformLogic").items():
        logic = getattr(slicer, cls)()
        logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        logic.SetMRMLScene(slicer.mrmlScene)
        slicer.app.applicationLogic().SetModuleLogic(key.capitalize(), logic)
        setattr(slicer.modules, key, types.SimpleNamespace(name=key, logic=lambda logic=logic: logic))
    import slicer_core
    sys.modules["MRMLCorePython"] = slicer_core.MRMLCore  # module name in the application
    import mrmlwidgets
    mrmlwidgets.install()
    sampleData = types.ModuleType("SampleData")
    sampleData.sources, sampleData.categories = [], []
    sampleData.SampleDataLogic = type("SampleDataLogic", (), dict(
        registerCustomSampleDataSource=staticmethod(lambda **kw: sampleData.sources.append(kw)),
        registerCustomSampleDataCategory=staticmethod(lambda *a, **kw: sampleData.categories.append(a))))
    sys.modules["SampleData"] = sampleData
    layoutManager = LayoutManager(slicer.app)
    return slicer.app


class ModulePanel(qt.QWidget):
    """qSlicerScriptedLoadableModuleWidget: QVBoxLayout, isEntered property, setup/enter/exit/cleanup driver."""
    isEntered = False

    def __init__(self):
        super().__init__()
        qt.QVBoxLayout(self)

    def mrmlScene(self): return slicer.mrmlScene


def loadModule(path):
    """What Slicer does at startup for a scripted module plus opening its panel once. Returns (module, widget)."""
    name = os.path.splitext(os.path.basename(path))[0]
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = qSlicerScriptedLoadableModule(path)
    instance = getattr(module, name)(parent)
    setattr(slicer.modules, name + "Instance", instance)
    setattr(slicer.moduleNames, name, name)
    slicer.app.startupCompleted.emit()
    setattr(slicer.modules, name.lower(), types.SimpleNamespace(name=name, path=path, title=parent.title, logic=lambda: None, widgetRepresentation=lambda: panel))
    panel = ModulePanel()
    widget = getattr(module, name + "Widget")(panel)
    setattr(slicer.modules, name + "Widget", widget)
    widget.setup()
    return module, widget


def enter(widget):
    widget.parent.isEntered = True
    getattr(widget, "enter", lambda: None)()


def exit(widget):
    widget.parent.isEntered = False
    getattr(widget, "exit", lambda: None)()


def close(widget):
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(widget.moduleName)
