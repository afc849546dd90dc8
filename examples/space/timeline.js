// Lets the timeline answer: cursor -> thumbnail, click -> the player jumps, player -> the playhead moves.
// Listens on the document, because the page replaces the timeline for every video.
(() => {
  const player = () => document.querySelector("#player video");
  const timeText = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;

  function jump(second) {
    const video = player();
    if (!video) return;
    video.currentTime = second;
    showPlayhead();
  }

  function secondAt(timeline, event) {
    const box = timeline.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return share * Number(timeline.dataset.durationS);
  }

  function showPlayhead() {
    const video = player(), timeline = document.querySelector(".bsp-timeline");
    if (!video || !timeline) return;
    const head = timeline.querySelector(".bsp-playhead");
    head.style.left = `${(100 * video.currentTime) / Number(timeline.dataset.durationS)}%`;
    head.hidden = false;
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-jump-s]");
    if (target) return jump(Number(target.dataset.jumpS));
    const timeline = event.target.closest(".bsp-timeline");
    if (timeline) jump(secondAt(timeline, event));
  });

  document.addEventListener("mousemove", (event) => {
    const timeline = event.target.closest?.(".bsp-timeline");
    for (const cursor of document.querySelectorAll(".bsp-cursor")) cursor.hidden = true;
    if (!timeline) return;
    const second = secondAt(timeline, event);
    const { durationS, thumbnails, thumbnailWidth } = timeline.dataset;
    const index = Math.min(Number(thumbnails) - 1, Math.floor((second / Number(durationS)) * Number(thumbnails)));
    const cursor = timeline.querySelector(".bsp-cursor");
    cursor.querySelector(".bsp-preview").style.backgroundPosition = `-${index * Number(thumbnailWidth)}px 0`;
    cursor.querySelector("span").textContent = timeText(second);
    const box = timeline.getBoundingClientRect(), half = Number(thumbnailWidth) / 2 + 6;
    const x = Math.min(box.width - half, Math.max(half, event.clientX - box.left));
    cursor.style.left = `${x}px`;
    cursor.hidden = false;
  });

  // The next boundary in a direction, or none: the arrow keys go there.
  function boundaryFrom(second, step) {
    const times = [...document.querySelectorAll(".bsp-marker")].map((marker) => Number(marker.dataset.jumpS));
    return step > 0 ? times.find((time) => time > second + 0.05) : times.findLast((time) => time < second - 0.05);
  }

  document.addEventListener("keydown", (event) => {
    const video = player(), focused = event.target;
    if (!video || event.ctrlKey || event.metaKey || event.altKey) return;
    const isOurs = focused.closest?.("#timeline, #player") || focused === document.body;
    if (!isOurs) return; // sliders, fields and buttons keep their keys
    if (event.key === " ") {
      if (video.paused) video.play();
      else video.pause();
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const second = boundaryFrom(video.currentTime, event.key === "ArrowRight" ? 1 : -1);
      if (second !== undefined) jump(second);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);

  // Media events do not bubble, but they can be captured.
  for (const name of ["timeupdate", "seeked"]) document.addEventListener(name, showPlayhead, true);
})();
